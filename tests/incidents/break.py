"""Break this project in many ways, and keep what its checks say: the corpus on which triage is measured.

python tests/incidents/break.py [NAME...]   (default: all; needs bandit, detect-secrets, hadolint and kubectl on PATH)

Each break is made in a scratch copy of what is committed. The check that notices it runs as it does in CI, and the log
goes to tests/incidents/logs/NAME.log: cut to its end, without paths of the machine, colours and durations. labels.json
says what each is. Of each cause, chance (the SHA-256 of a name) decides which breaks signatures may be developed on and
which are only measured; nobody chooses.
"""

import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
LOGS = Path(__file__).with_name("logs")
LABELS = Path(__file__).with_name("labels.json")
LINES, CHARS = 160, 12_000  # the end of a log that is kept
Change = Callable[[Path], None]

DOCKERFILE = """\
FROM python:3.11.9-slim-bookworm AS build
WORKDIR /app
COPY requirements.lock ./
RUN pip install --no-cache-dir --require-hashes -r requirements.lock
COPY . .
USER 10001
CMD ["python", "-m", "serving.api"]
"""
CONFIG_MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: geocrop\ndata:\n  year: '2022'\n"
NETWORK, CLUSTER, KUSTOMIZATION = (f"k8s/dask/{name}.yaml" for name in ("network", "cluster", "kustomization"))
PLACES, HEALTH, GATE, CLOUDS = (
    "serving/jobs/places.py",
    "serving/api/health.py",
    "geocrop/gate.py",
    "geocrop/clouds.py",
)
PYTEST = "python -m pytest -q -p no:cacheprovider"
STAGE = "python -m geocrop_papermill nbs/pipelines/{0}.ipynb reports/{0}.ipynb"
API = "timeout 60 python -m serving.api --port 0"
MAP = "python -m geocrop.cli map --lon 31.05 --lat -17.83 --radius-m 300 --year 2022 --out map.tif"


@dataclass(frozen=True)
class Break:
    "One way to break it."

    name: str
    label: str  # lint, test, security, training, container or deployment
    cause: str  # What a signature should say
    command: str  # The check that notices
    change: Change
    env: dict[str, str] = field(default_factory=dict)


def edit(path: str, old: str, new: str) -> Change:
    "Replace a text that must be there."

    def change(at: Path) -> None:
        text = (at / path).read_text()
        assert old in text, f"{path} has no {old!r}"
        (at / path).write_text(text.replace(old, new))

    return change


def add(path: str, text: str) -> Change:
    "Append to a file, which need not be there."

    def change(at: Path) -> None:
        (at / path).parent.mkdir(parents=True, exist_ok=True)
        with (at / path).open("a") as file:
            file.write(text)

    return change


def remove(path: str) -> Change:
    "Take a file or a link away."
    return lambda at: (at / path).unlink()


def cut(path: str, keep: float) -> Change:
    "Leave only the beginning of a file."

    def change(at: Path) -> None:
        content = (at / path).read_bytes()
        (at / path).write_bytes(content[: int(len(content) * keep)])

    return change


def both(*changes: Change) -> Change:
    "One after the other."

    def change(at: Path) -> None:
        for one in changes:
            one(at)

    return change


def nothing(at: Path) -> None:
    "The command alone is wrong for the place where it runs."


def newer_database(at: Path) -> None:
    "A database that a newer version has migrated."
    import sqlite3

    with sqlite3.connect(at / "service.db") as database:
        database.execute("create table alembic_version (version_num varchar(32) not null)")
        database.execute("insert into alembic_version values ('9f3c1d27ab40')")


def model(at: Path) -> None:
    "A bundle of its own, not a link to one that others use."
    found = (at / "results/model").resolve()
    (at / "results/model").unlink()
    shutil.copytree(found, at / "results/model")


def requirement(name: str, *, digits: str = "", hashes: bool = True) -> Change:
    "requirements.lock cut to one package, its hashes altered or left out."

    def change(at: Path) -> None:
        lock = (at / "requirements.lock").read_text()
        entry = re.search(rf"^{name}==.*?(?=^\S|\Z)", lock, re.M | re.S)
        assert entry, name
        text = re.sub(r"sha256:[0-9a-f]{8}", f"sha256:{digits}", entry[0]) if digits else entry[0]
        (at / "requirements.lock").write_text(text if hashes else text.split("\\")[0].strip() + "\n")

    return change


def breaks(busy: int) -> list[Break]:
    "All of them; `busy` is a port that somebody listens on."
    pip = "python -m pip install --disable-pip-version-check --dry-run --no-deps --ignore-installed"
    house = f"{PYTEST} tests/test_house.py -k"
    conflict = "<<<<<<< HEAD\n  gate:\n    cmd: a\n=======\n  gate:\n    cmd: b\n>>>>>>> other\n"
    server = {"GEOCROP_API_EMBEDDED": "no", "GEOCROP_API_SECRET": hashlib.sha256(b"geocrop").hexdigest()}
    wanted = f"{PYTEST} tests/test_wanted.py"
    return [
        # lint
        Break(
            "unused-import",
            "lint",
            "ruff-rule",
            "python -m ruff check serving/jobs",
            edit(PLACES, "import math\n", "import math\nimport os\n"),
        ),
        Break(
            "undefined-name",
            "lint",
            "ruff-rule",
            "python -m ruff check tests/test_gate.py",
            edit("tests/test_gate.py", "RULES = Gate(", "RULES = Gaet("),
        ),
        Break(
            "mutable-default",
            "lint",
            "ruff-rule",
            "python -m ruff check serving/api",
            add(HEALTH, "\n\ndef seen(names: list[str] = []) -> list[str]:\n    return names\n"),
        ),
        Break(
            "spaces-in-list",
            "lint",
            "ruff-format",
            "python -m ruff format --check serving/jobs",
            add(PLACES, "\n\nSEEN = [1,2,   3]\n"),
        ),
        Break(
            "single-quotes",
            "lint",
            "ruff-format",
            "python -m ruff format --check tests",
            add("tests/test_gate.py", "\n\nLAST = 'block'\n"),
        ),
        Break(
            "wrong-return",
            "lint",
            "mypy-error",
            "python -m mypy --follow-imports=silent serving/jobs/places.py",
            add(PLACES, "\n\ndef width(box: tuple[float, float]) -> str:\n    return box[1] - box[0]\n"),
        ),
        Break(
            "no-such-attribute",
            "lint",
            "mypy-error",
            "python -m mypy --follow-imports=silent serving/api/health.py",
            edit(HEALTH, "anyio.CapacityLimiter(8)", "anyio.CapacityLimitr(8)"),
        ),
        Break(
            "lost-colon",
            "lint",
            "python-syntax",
            "python -m ruff check serving/jobs",
            edit(PLACES, "    if west > east:\n", "    if west > east\n"),
        ),
        Break(
            "open-bracket",
            "lint",
            "python-syntax",
            "python -m mypy --follow-imports=silent serving/jobs/places.py",
            add(PLACES, "\n\nSEEN = (1, 2\n\n\ndef more() -> None:\n    pass\n"),
        ),
        Break(
            "module-edited", "lint", "stale-export", f"{house} fresh_export", add("geocrop/indices.py", "\n# by hand\n")
        ),
        Break(
            "notebook-counts",
            "lint",
            "stale-export",
            f"{house} notebooks_are_clean",
            edit("nbs/20_indices.ipynb", '"execution_count": null', '"execution_count": 7'),
        ),
        Break(
            "upper-floor",
            "lint",
            "house-rule",
            f"{house} lower_floors",
            edit(
                "nbs/20_indices.ipynb",
                '"import numpy as np\\n",',
                '"import numpy as np\\n",\n    "from geocrop.mapping import map_area\\n",',
            ),
        ),
        Break(
            "stage-without-dep",
            "lint",
            "house-rule",
            f"{house} each_stage_depends",
            edit("dvc.yaml", "      - ${root}/geocrop/kernels.py\n", ""),
        ),
        # test
        Break(
            "gate-turned-round",
            "test",
            "assertion",
            f"{PYTEST} tests/test_gate.py -k 'each or good or stops or baseline or scores'",
            edit(GATE, "passed = after <= limit and not worse", "passed = after > limit and not worse"),
        ),
        Break(
            "wrong-status",
            "test",
            "assertion",
            f"{PYTEST} tests/test_bad_input.py",
            edit("geocrop/cli.py", "        return 2\n    except OSError", "        return 3\n    except OSError"),
        ),
        Break(
            "mask-forgets",
            "test",
            "property-falsified",
            f"{PYTEST} tests/test_clouds.py -k scipys",
            edit(CLOUDS, "def widen(", "def widen(hidden, half_widths):\n    return hidden\n\n\ndef _widen("),
        ),
        Break(
            "gate-lets-both-win",
            "test",
            "property-falsified",
            f"{PYTEST} tests/test_gate.py -k two_models",
            edit(GATE, "passed = better > best.half_width or", "passed = better > -best.half_width or"),
        ),
        Break(
            "wrong-formula",
            "test",
            "lesson-failed",
            f"{PYTEST} nbs/20_indices.ipynb",
            edit("nbs/20_indices.ipynb", "return (nir - red) / (nir + red)", "return (red - nir) / (nir + red)"),
        ),
        Break(
            "lesson-misspelt",
            "test",
            "lesson-failed",
            f"{PYTEST} nbs/07_gate.ipynb",
            edit("nbs/07_gate.ipynb", "first = judge(season, asked)", "first = jugde(season, asked)"),
        ),
        Break(
            "renamed-function",
            "test",
            "import-error",
            f"{PYTEST} tests/test_gate.py",
            edit(GATE, "def unseen(", "def not_seen("),
        ),
        Break(
            "package-not-there",
            "test",
            "import-error",
            f"{PYTEST} tests/test_clouds.py",
            edit(CLOUDS, "import numpy as np\n", "import numpy as np\nimport skimage\n"),
        ),
        Break(
            "fixture-misspelt",
            "test",
            "fixture-missing",
            f"{PYTEST} tests/test_cli.py",
            edit(
                "tests/test_cli.py",
                "def project(tmp_path: Path, season: Path",
                "def project(tmp_path: Path, saeson: Path",
            ),
        ),
        Break(
            "fixture-renamed",
            "test",
            "fixture-missing",
            f"{PYTEST} tests/test_cube.py",
            edit("conftest.py", "def season() -> Path:", "def embedded_season() -> Path:"),
        ),
        Break("no-season", "test", "season-missing", f"{PYTEST} tests/test_cli.py -k polygon", remove("data/season")),
        Break(
            "empty-season",
            "test",
            "season-missing",
            f"{PYTEST} tests/test_cube.py",
            both(remove("data/season"), add("data/season/README", "nothing yet\n")),
        ),
        Break(
            "endless-loop",
            "test",
            "test-hangs",
            f"{wanted} -o faulthandler_timeout=4",
            add(
                "tests/test_wanted.py",
                "import time\n\n\ndef test_queue_is_empty_in_the_end():\n    while True:\n        time.sleep(0.1)\n",
            ),
        ),
        Break(
            "deadlock",
            "test",
            "test-hangs",
            f"{wanted} -o faulthandler_timeout=4",
            add(
                "tests/test_wanted.py",
                "import threading\n\nfrom geocrop.schema import AOI\n\n\ndef test_one_at_a_time():\n"
                "    turn = threading.Lock()\n    with turn:\n        assert AOI(31, -17, 300)\n"
                "        with turn:\n            pass\n",
            ),
        ),
        Break(
            "segmentation-fault",
            "test",
            "native-crash",
            wanted,
            add(
                "tests/test_wanted.py",
                "import ctypes\n\n\ndef test_reads_a_header():\n    assert ctypes.string_at(8) == b'II'\n",
            ),
        ),
        Break(
            "abort",
            "test",
            "native-crash",
            wanted,
            add("tests/test_wanted.py", "import os\n\n\ndef test_trees_agree():\n    os.abort()\n"),
        ),
        Break(
            "skipped-in-ci",
            "test",
            "skip-refused",
            wanted,
            add(
                "tests/test_wanted.py",
                "def test_real_fields(shared_data):\n    assert (shared_data / 'herault_2018').is_dir()\n",
            ),
            {"GEOCROP_REQUIRE_ALL": "1", "GEOCROP_SHARED": "/nowhere"},
        ),
        Break(
            "skipped-without-server",
            "test",
            "skip-refused",
            wanted,
            add(
                "tests/test_wanted.py",
                "import shutil\n\nimport pytest\n\n\n"
                "@pytest.mark.skipif(not shutil.which('redis-server-9'), reason='no redis-server')\n"
                "def test_bell():\n    pass\n",
            ),
            {"GEOCROP_REQUIRE_ALL": "1"},
        ),
        # security
        Break(
            "shell-true",
            "security",
            "insecure-code",
            "bandit -q -r serving/jobs",
            add(
                "serving/jobs/queue.py",
                "\n\ndef ring(host: str) -> None:\n    import subprocess\n\n"
                "    subprocess.run(f'ping {host}', shell=True)\n",
            ),
        ),
        Break(
            "weak-hash",
            "security",
            "insecure-code",
            "bandit -q -r serving/api",
            add(
                "serving/api/tokens.py",
                "\n\ndef short(token: str) -> str:\n    import hashlib\n\n"
                "    return hashlib.md5(token.encode()).hexdigest()\n",
            ),
        ),
        Break(
            "unsafe-yaml",
            "security",
            "insecure-code",
            "bandit -q serving/worker/release.py",
            add(
                "serving/worker/release.py",
                "\n\ndef read(text: str) -> object:\n    import yaml\n\n"
                "    return yaml.load(text, Loader=yaml.Loader)\n",
            ),
        ),
        Break(
            "aws-key",
            "security",
            "secret-in-tree",
            "detect-secrets-hook settings.ini",
            add("settings.ini", "\n[minio]\naws_access_key_id = AKIAQ3EGRZ7PLT5JWZ2M\n"),
        ),
        Break(
            "private-key",
            "security",
            "secret-in-tree",
            "detect-secrets-hook k8s/dask/network.yaml k8s/dask/tls.yaml",
            add("k8s/dask/tls.yaml", "tls.key: |\n  -----BEGIN " + "RSA PRIVATE KEY-----\n  MIIEowIBAAKCAQEA\n"),
        ),
        Break(
            "password-in-code",
            "security",
            "secret-in-tree",
            "detect-secrets-hook serving/jobs/database.py",
            add(
                "serving/jobs/database.py", "\nURL = 'postgresql://geocrop:" + "kuDzu91sadza@db.example.org/geocrop'\n"
            ),
        ),
        Break(
            "hash-altered",
            "security",
            "hash-mismatch",
            f"{pip} --require-hashes -r requirements.lock",
            requirement("idna", digits="00000000"),
        ),
        Break(
            "other-hash-altered",
            "security",
            "hash-mismatch",
            f"{pip} --require-hashes -r requirements.lock",
            requirement("six", digits="0f0f0f0f"),
        ),
        Break(
            "hash-left-out",
            "security",
            "hash-missing",
            f"{pip} --require-hashes -r requirements.lock",
            requirement("idna", hashes=False),
        ),
        # training
        Break(
            "class-collapsed",
            "training",
            "gate-stopped",
            "python -m geocrop.cli gate --folder .",
            edit("params.yaml", "  at_least: 0.75", "  at_least: 0.75\n  min_class_f1: 0.99"),
        ),
        Break(
            "score-too-low",
            "training",
            "gate-stopped",
            "python -m geocrop.cli gate --folder .",
            edit("params.yaml", "  at_least: 0.75", "  at_least: 0.97"),
        ),
        Break(
            "unknown-param",
            "training",
            "bad-params",
            STAGE.format("01_items"),
            edit("params.yaml", "  max_cloud_pct: 95", "  max_clouds_pct: 95"),
        ),
        Break(
            "param-as-text",
            "training",
            "bad-params",
            STAGE.format("03_train"),
            edit("params.yaml", "  rounds: 100", '  rounds: "100"'),
        ),
        Break(
            "unknown-setting",
            "training",
            "bad-settings",
            STAGE.format("01_items"),
            edit("settings.ini", "href = data", "hreff = data"),
        ),
        Break(
            "unknown-variable",
            "training",
            "bad-settings",
            "python -m geocrop.cli gate --folder .",
            nothing,
            {"GEOCROP_MLFLOW_TRACKING_URL": "http://mlflow:5000"},
        ),
        Break(
            "no-labels",
            "training",
            "data-missing",
            STAGE.format("02_features"),
            edit("settings.ini", "labels/survey.parquet", "labels/survey_2023.parquet"),
        ),
        Break(
            "no-catalogue",
            "training",
            "data-missing",
            STAGE.format("01_items"),
            edit("settings.ini", "data/season/catalog.json", "data/season_2023/catalog.json"),
        ),
        Break(
            "pipeline-schema",
            "training",
            "pipeline-file",
            "dvc repro --dry",
            edit("dvc.yaml", "    outs:\n      - results/items.json", "    outputs:\n      - results/items.json"),
        ),
        Break("lock-conflict", "training", "pipeline-file", "dvc repro --dry", add("dvc.lock", conflict)),
        Break(
            "labels-of-no-class",
            "training",
            "labels-unusable",
            STAGE.format("02_features"),
            edit("params.yaml", "    - {id: 1, name: maize", "    - {id: 41, name: maize"),
        ),
        Break(
            "labels-too-poor",
            "training",
            "labels-unusable",
            STAGE.format("02_features"),
            edit("params.yaml", "  min_quality: 2", "  min_quality: 9"),
        ),
        Break(
            "memory-limit",
            "training",
            "out-of-memory",
            f"prlimit --as=900000000 {STAGE.format('02_features')}",
            nothing,
        ),
        Break(
            "killed", "training", "out-of-memory", f'bash -c "timeout -s KILL 12 {STAGE.format("03_train")}"', nothing
        ),
        Break(
            "report-disk-full",
            "training",
            "disk-full",
            "bash -c 'python -m geocrop.cli summary --json > /dev/full'",
            nothing,
        ),
        Break("list-disk-full", "training", "disk-full", "bash -c 'dvc stage list > /dev/full'", nothing),
        # container
        Break(
            "no-such-instruction",
            "container",
            "dockerfile-syntax",
            "hadolint Dockerfile",
            add("Dockerfile", DOCKERFILE.replace("RUN pip", "RUNS pip")),
        ),
        Break(
            "open-json",
            "container",
            "dockerfile-syntax",
            "hadolint Dockerfile",
            add(
                "Dockerfile",
                DOCKERFILE.replace("COPY . .", "COPY --from=build").replace("USER 10001\n", "EXPOSE eighty\n"),
            ),
        ),
        Break(
            "latest-tag",
            "container",
            "dockerfile-rule",
            "hadolint Dockerfile",
            add("Dockerfile", DOCKERFILE.replace("3.11.9-slim-bookworm", "latest")),
        ),
        Break(
            "root-at-the-end",
            "container",
            "dockerfile-rule",
            "hadolint Dockerfile",
            add("Dockerfile", DOCKERFILE.replace("USER 10001", "RUN apt-get install gdal-bin\nUSER root")),
        ),
        Break("no-such-version", "container", "image-dependency", f"{pip} 'idna==3.999'", nothing),
        Break(
            "python-too-old",
            "container",
            "image-dependency",
            f"{pip} .",
            edit("pyproject.toml", '">=3.11,<3.13"', '">=3.13"'),
        ),
        # deployment
        Break(
            "resource-not-there",
            "deployment",
            "kustomize-build",
            "kubectl kustomize k8s/dask",
            edit(KUSTOMIZATION, "network.yaml", "networks.yaml"),
        ),
        Break(
            "patch-of-nothing",
            "deployment",
            "kustomize-build",
            "kubectl kustomize k8s/dask",
            add(
                KUSTOMIZATION,
                "patches:\n  - target: {kind: Deployment, name: api}\n    patch: |\n      apiVersion: apps/v1\n"
                "      kind: Deployment\n      metadata: {name: api}\n  - path: limits.yaml\n",
            ),
        ),
        Break(
            "tab-in-manifest",
            "deployment",
            "manifest-yaml",
            "kubectl kustomize k8s/dask",
            edit(NETWORK, "metadata:\n  ", "metadata:\n\t"),
        ),
        Break(
            "open-brace",
            "deployment",
            "manifest-yaml",
            f"kubernetes-validate -k 1.35 --strict {NETWORK}",
            edit(NETWORK, "metadata:\n", "metadata: {\n"),
        ),
        Break(
            "unknown-field",
            "deployment",
            "manifest-schema",
            "kubernetes-validate -k 1.35 --strict k8s/dask/storage.yaml",
            edit("k8s/dask/storage.yaml", "accessModes", "accessMode"),
        ),
        Break(
            "number-as-text",
            "deployment",
            "manifest-schema",
            "kubernetes-validate -k 1.35 --strict config.yaml",
            add("config.yaml", CONFIG_MAP.replace("'2022'", "2022")),
        ),
        Break(
            "database-refuses",
            "deployment",
            "database-unreachable",
            API,
            nothing,
            {"GEOCROP_DATABASE_URL": "postgresql://geocrop:secret@127.0.0.1:1/geocrop"} | server,
        ),
        Break(
            "database-unknown-host",
            "deployment",
            "database-unreachable",
            API,
            nothing,
            {"GEOCROP_DATABASE_URL": "postgresql://geocrop:secret@db.invalid:5433/geocrop"} | server,
        ),
        Break(
            "newer-database",
            "deployment",
            "schema-version",
            "timeout 60 python -m geocrop.cli users list",
            newer_database,
        ),
        Break(
            "port-taken-api", "deployment", "address-in-use", f"timeout 60 python -m serving.api --port {busy}", nothing
        ),
        Break(
            "port-taken-serve",
            "deployment",
            "address-in-use",
            f"timeout 60 python -m geocrop.cli serve --port {busy}",
            nothing,
        ),
        Break("no-secret", "deployment", "service-secret", API, nothing, {"GEOCROP_API_EMBEDDED": "no"}),
        Break(
            "short-secret",
            "deployment",
            "service-secret",
            API,
            nothing,
            {"GEOCROP_API_EMBEDDED": "no", "GEOCROP_API_SECRET": "too-short"},
        ),
        Break("booster-cut", "deployment", "model-damaged", MAP, both(model, cut("results/model/xgboost.ubj", 0.5))),
        Break(
            "page-edited",
            "deployment",
            "model-damaged",
            MAP,
            both(model, edit("results/model/bundle.json", '"ndvi_', '"nvdi_')),
        ),
    ]


# --- making them -----------------------------------------------------------------------------------------------------


def scratch(at: Path) -> None:
    "What is committed, in a repository of its own; data and results of this clone are linked."
    subprocess.run(["git", "clone", "-q", "--no-hardlinks", str(ROOT), str(at)], check=True)
    for name in ("data/season", "results/features.parquet", "results/items.json", "results/model"):
        (at / name).parent.mkdir(parents=True, exist_ok=True)
        (at / name).symlink_to((ROOT / name).resolve())
    (at / ".git/info/exclude").write_text("/data/season\n/results\n.mypy_cache\n.ruff_cache\n")


def clean(text: str, at: Path) -> str:
    "A log as it would be anywhere: no path of this machine, no colour, no duration."
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r", "\n")
    home, scratches = str(Path.home()), tempfile.gettempdir()
    places = {str(at): "/build", str(ROOT): "/build", sys.prefix: "/venv", sys.base_prefix: "/python"}
    for place, name in (places | {home: "/home/ci", scratches: "/scratch"}).items():
        text = text.replace(place, name)
    text = re.sub(r"file://\S+|(?<=Processing )/\S+/", "", text)
    text = re.sub(r"(?m)^.*(?:Location '|Looking in (?:indexes|links)).*\n", "", text)
    text = re.sub(r"\b\d+\.\d+ ?s(econds)?\b", "0.1s", text)
    text = re.sub(r"0x[0-9a-f]{6,}", "0x7f0000000000", text)
    text = re.sub(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:[.,]\d+)?", "2026-01-31 12:00:00", text)
    text = re.sub(r"(?m)^E\d{4} [\d:.]+ +\d+ ", "E0131 12:00:00.000000       1 ", text)
    text = re.sub(
        r"process \[\d+\]|(?<=127\.0\.0\.1:)\d{4,5}", lambda m: "process [17]" if m[0][0] == "p" else "8000", text
    )
    lines = [line.rstrip()[:400] for line in text.splitlines()][-LINES:]
    return "\n".join(lines)[-CHARS:].strip("\n") + "\n"


def make(one: Break, at: Path) -> str:
    "Break it, run the check, mend it; the log."
    quiet: dict[str, object] = {"cwd": at, "check": True, "capture_output": True}
    results = at / "results"
    try:
        one.change(at)
        known = {key: value for key, value in os.environ.items() if not key.startswith("GEOCROP_")}
        place = {"PYTHONPATH": str(at), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "NO_COLOR": "1"}
        command = ["bash", "-c", one.command]
        ran = subprocess.run(
            command, cwd=at, env=known | place | one.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace", timeout=400,
        )  # fmt: skip
        assert ran.returncode, f"{one.name}: nothing noticed it\n{ran.stdout[-2000:]}"
        code = ran.returncode if ran.returncode > 0 else 128 - ran.returncode  # of a signal, as a shell has it
        return clean(ran.stdout, at) + f"exitcode '{code}': failure\n"  # as the runner of Gitea Actions ends
    finally:
        subprocess.run(["git", "checkout", "-q", "."], **quiet)  # type: ignore[call-overload]
        subprocess.run(["git", "clean", "-qfd"], **quiet)  # type: ignore[call-overload]
        for name, there in (("data/season", ROOT / "data/season"), ("results/model", ROOT / "results/model")):
            if not (at / name).is_symlink():
                shutil.rmtree(at / name, ignore_errors=True)
                (at / name).symlink_to(there.resolve())
        for made in ("map.tif", "map.json", "service.db"):
            (at / made).unlink(missing_ok=True)
        assert results.is_dir()


def chance(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def halves(every: list[Break]) -> dict[str, str]:
    "Which may be developed on, and which are held out: by turns within each cause, in an order of chance."
    half = {}
    for cause in {one.cause for one in every}:
        names = sorted((one.name for one in every if one.cause == cause), key=chance)
        first = int(chance(cause), 16) % 2
        half |= {name: ("developed", "held out")[(place + first) % 2] for place, name in enumerate(names)}
    return half


def main(names: list[str]) -> int:
    "Make some or all."
    LOGS.mkdir(exist_ok=True)
    failed = []
    with socket.socket() as taken, tempfile.TemporaryDirectory() as folder:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        every = breaks(taken.getsockname()[1])
        at = Path(folder) / "geocrop"
        scratch(at)
        for one in every:
            if names and one.name not in names:
                continue
            try:
                log = make(one, at).replace(str(taken.getsockname()[1]), "8000")
            except (AssertionError, OSError, subprocess.SubprocessError) as error:
                failed.append(f"{one.name}: {error}")
                continue
            (LOGS / f"{one.name}.log").write_text(log)
            print(f"{one.name}: {len(log)} characters", flush=True)
    half = halves(every)
    made = [one for one in every if (LOGS / f"{one.name}.log").is_file()]
    rows = {one.name: {"class": one.label, "cause": one.cause, "half": half[one.name]} for one in made}
    LABELS.write_text(json.dumps(dict(sorted(rows.items())), indent=1) + "\n")
    print("\n".join(failed), file=sys.stderr)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
