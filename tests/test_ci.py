"""The scripts that the pipelines of .gitea/workflows are made of, each run here against what it talks to.

The forge is a bare repository and a server that answers like Gitea's API; builder, scanner and signer are programs that
write down how they were called. What cannot be run without a network stands in docs/ci.md.
"""

import base64
import hashlib
import importlib.util
import json
import os
import re
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
import yaml
from loopback import answering

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "k8s"))
from check import images, pipelines  # noqa: E402

TOKEN = "a-token-of-this-run"
DIGEST = "sha256:" + "a" * 64
REVISION = "c" * 40


def script(name: str) -> ModuleType:
    "A Python script of .ci."
    spec = importlib.util.spec_from_file_location(f"ci_{name}", ROOT / f".ci/{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def git(folder: Path, *words: str) -> str:
    return subprocess.run(["git", "-C", folder, *words], check=True, capture_output=True, text=True).stdout.strip()


class Forge:
    "A repository on a server, and a clone of it as a run has one."

    def __init__(self, folder: Path):
        self.folder, self.bare, self.clone = folder, folder / "owner/geocrop", folder / "clone"
        subprocess.run(["git", "init", "-q", "--bare", "-b", "main", self.bare], check=True)
        subprocess.run(["git", "init", "-q", "-b", "main", self.clone], check=True)
        git(self.clone, "config", "user.name", "ada")
        git(self.clone, "config", "user.email", "ada@example.org")
        for name in subprocess.run(["git", "ls-files", ".ci", "serving/images"], cwd=ROOT, check=True,
                                   capture_output=True, text=True).stdout.split():  # fmt: skip
            (self.clone / name).parent.mkdir(parents=True, exist_ok=True)
            (self.clone / name).write_bytes((ROOT / name).read_bytes())
            (self.clone / name).chmod((ROOT / name).stat().st_mode)
        (self.clone / ".gitignore").write_text("build/\n")
        self.write("k8s/release/kustomization.yaml", KUSTOMIZATION)
        self.commit("begin")

    def write(self, name: str, text: str) -> None:
        path = self.clone / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def commit(self, message: str) -> str:
        git(self.clone, "add", "--all")
        git(self.clone, "commit", "-q", "-m", message)
        git(self.clone, "push", "-q", str(self.bare), "HEAD:main")
        return git(self.clone, "rev-parse", "HEAD")

    def run(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        "A step of a run, in the clone, with the environment of the forge."
        env = {
            **os.environ, "GITHUB_SERVER_URL": f"file://{self.folder}", "GITHUB_REPOSITORY": "owner/geocrop",
            "TOKEN": TOKEN, "PYTHON": sys.executable, **more,
        }  # fmt: skip
        return subprocess.run(words, cwd=self.clone, env=env, capture_output=True, text=True, timeout=120)


KUSTOMIZATION = """# what people wrote stays
kind: Kustomization
images: # newTag is written by the pipeline
  - name: registry.example.org/geocrop/api
    newName: git.example.org/geocrop/api
    newTag: 0.1.0
  - name: registry.example.org/geocrop/worker
    newName: git.example.org/geocrop/worker # makes maps
    newTag: 0.1.0
replicas:
  - {name: api, count: 2}
"""


@pytest.fixture
def forge(tmp_path: Path) -> Forge:
    return Forge(tmp_path)


# --- workflows -------------------------------------------------------------------------------------------------------


def test_the_checkout_of_the_workflows_fetches_the_revision_and_keeps_no_token(forge: Forge, tmp_path: Path):
    workflows = sorted((ROOT / ".gitea/workflows").glob("*.yaml"))
    (text,) = {step["run"] for path in workflows for _, step in pipelines.steps(path) if step.get("name") == "checkout"}
    first = git(forge.clone, "rev-parse", "HEAD")
    forge.write("later", "later")
    forge.commit("later")
    git(forge.bare, "config", "uploadpack.allowAnySHA1InWant", "true")  # as Gitea has it
    work = tmp_path / "work"
    work.mkdir()
    env = {**os.environ, "GITHUB_SERVER_URL": f"file://{tmp_path}", "GITHUB_REPOSITORY": "owner/geocrop",
           "GITHUB_SHA": first, "TOKEN": TOKEN}  # fmt: skip
    ran = subprocess.run(["bash", "-e", "-c", text], cwd=work, env=env, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert git(work, "rev-parse", "HEAD") == first and not (work / "later").exists()
    kept = [p for p in (work / ".git").rglob("*") if p.is_file() and TOKEN.encode() in p.read_bytes()]
    assert not kept and "Authorization" not in (work / ".git/config").read_text()


def broken(tmp_path: Path, change: Any) -> list[str]:
    "What is said of a workflow that is changed in one place."
    (tmp_path / ".ci").mkdir(exist_ok=True)
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text())
    for name in (ROOT / ".ci").iterdir():
        (tmp_path / ".ci" / name.name).write_bytes(name.read_bytes())
    page = yaml.safe_load((ROOT / ".gitea/workflows/ci.yaml").read_text())
    change(page)
    path = tmp_path / "ci.yaml"
    path.write_text(yaml.safe_dump(page, sort_keys=False))
    return [*pipelines.kept(path, tmp_path), *pipelines.checkouts([path])]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda page: page["jobs"]["checks"]["steps"].append({"uses": "actions/cache@v4"}), "an action of others"),
        (lambda page: page["jobs"]["checks"]["steps"].append({"run": "pip install x"}), "no script of .ci"),
        (lambda page: page["jobs"]["checks"]["steps"].append({"run": ".ci/absent"}), "no script of .ci"),
        (lambda page: page["jobs"]["checks"]["steps"].append({"run": "make absent"}), "no target of make"),
        (lambda page: page["jobs"]["checks"]["steps"].append({"run": ".ci/fresh\nrm -rf x"}), "no script of .ci"),
        (lambda page: page["jobs"]["checks"]["steps"].append({"run": ".ci/fresh ${{ github.ref }}"}), "no script"),
        (lambda page: page.update(permissions="write-all"), "permissions are write-all"),
        (lambda page: page["jobs"]["checks"]["steps"].pop(0), "does not begin with checkout"),
        (lambda page: page["jobs"]["tests"]["steps"][0].update(run="git clone x"), "2 versions of it"),
    ],
)
def test_a_workflow_that_does_otherwise_is_refused(tmp_path: Path, change: Any, said: str):
    assert not broken(tmp_path, lambda page: None)
    assert any(said in line for line in broken(tmp_path, change))


# --- scores ----------------------------------------------------------------------------------------------------------

SCORES = {  # of dvc metrics diff --json
    "reports/metrics.json": {
        "by_block.ensemble.macro_f1": {"old": 0.8123456, "new": 0.8023456, "diff": -0.01},
        "by_block.ensemble.ece": {"old": 0.03, "new": 0.02, "diff": -0.01},
        "classes.a|b.users": {"old": None, "new": 0.5},
        "table_sha256": {"old": "61b8", "new": "72c9"},
        "same": {"old": 1, "new": 1},
    }
}


def test_scores_become_a_table():
    text = script("metrics").markdown(SCORES)
    assert "4 scores change." in text and "same" not in text
    assert "| reports/metrics.json: by_block.ensemble.macro_f1 | 0.8123 | 0.8023 | -0.01 worse |" in text
    assert "ece | 0.03 | 0.02 | -0.01 better |" in text  # an error that is smaller
    assert "classes.a/b.users | – | 0.5 | new |" in text  # a bar would end the cell
    assert {line.count("|") for line in text.splitlines() if line.startswith("|")} == {5}
    assert "No score changes." in script("metrics").markdown({})


def test_scores_are_those_that_dvc_tells(tmp_path: Path):
    "DVC's own JSON, of a repository with one metric."
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    dvc = Path(sys.executable).parent / "dvc"
    subprocess.run([dvc, "init", "-q"], cwd=tmp_path, check=True)
    (tmp_path / "dvc.yaml").write_text("metrics: [m.json]\n")
    for value in (0.5, 0.75):
        (tmp_path / "m.json").write_text(json.dumps({"a": {"f1": value}, "n": 3}))
        if value == 0.5:
            git(tmp_path, "add", "--all")
            git(tmp_path, "-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-q", "-m", "one")
    said = subprocess.run([dvc, "metrics", "diff", "--json", "HEAD"], cwd=tmp_path, check=True, capture_output=True)
    assert "| m.json: a.f1 | 0.5 | 0.75 | +0.25 better |" in script("metrics").markdown(json.loads(said.stdout))


class Answering(BaseHTTPRequestHandler):
    "A server that answers in JSON, and says nothing else."

    def _answer(self, page: Any, status: int = 200) -> None:
        content = json.dumps(page).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *words: Any) -> None:
        pass


class Gitea(Answering):
    "Comments of one pull request, by Gitea's published API, in pages of two."

    comments: list[dict[str, Any]]
    asked: list[str]

    def _body(self) -> dict[str, Any]:
        return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

    def _known(self) -> bool:
        self.asked.append(f"{self.command} {self.path}")
        if self.headers["Authorization"] == f"token {TOKEN}":
            return True
        self._answer({"message": "token is required"}, 401)
        return False

    def do_GET(self) -> None:
        if not self._known():
            return
        if self.path.startswith("/api/v1/repos/owner/geocrop/actions/runs/12/jobs?"):
            jobs = [{"id": n, "name": f"job {n}", "conclusion": "failure" if n == 3 else "success"} for n in (1, 2, 3)]
            self._answer({"jobs": jobs, "total_count": len(jobs)})
        elif self.path == "/api/v1/repos/owner/geocrop/actions/jobs/3/logs":
            self._answer("x" * 3_000_000 + " the end")
        else:
            assert self.path.startswith("/api/v1/repos/owner/geocrop/issues/7/comments?")
            query = httpx.URL(self.path).params
            first = (int(query["page"]) - 1) * int(query["limit"])
            self._answer(self.comments[first : first + int(query["limit"])])

    def do_POST(self) -> None:
        if self._known():
            one = {"id": len(self.comments) + 1, "body": self._body()["body"], "html_url": "there"}
            self.comments.append(one)
            self._answer(one, 201)

    def do_PATCH(self) -> None:
        if self._known():
            one = self.comments[int(self.path.rsplit("/", 1)[1]) - 1]
            one["body"] = self._body()["body"]
            self._answer(one)


@pytest.fixture
def gitea() -> Any:
    handler = type("Handler", (Gitea,), {"comments": [], "asked": []})
    with answering(ThreadingHTTPServer(("127.0.0.1", 0), handler)) as url:
        yield url, handler


def say(url: str, text: str, token: str = TOKEN) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "GITHUB_SERVER_URL": url, "GITHUB_REPOSITORY": "owner/geocrop", "TOKEN": token}
    words = [sys.executable, ROOT / ".ci/comment.py", "7"]
    return subprocess.run(words, input=text, env=env, capture_output=True, text=True)


def test_a_comment_is_written_once_and_then_anew(gitea: Any):
    url, handler = gitea
    handler.comments += [{"id": n + 1, "body": f"of people {n}", "html_url": ""} for n in range(60)]
    mark = script("metrics").MARK
    for text in (f"{mark}\nfirst", f"{mark}\nsecond"):
        ran = say(url, text)
        assert ran.returncode == 0, ran.stderr
    assert [one["body"] for one in handler.comments[60:]] == [f"{mark}\nsecond"]
    assert [one for one in handler.asked if one.startswith("PATCH")] == [
        "PATCH /api/v1/repos/owner/geocrop/issues/comments/61"
    ]


def test_a_forge_that_refuses_is_told_of(gitea: Any):
    ran = say(gitea[0], "text", token="another")
    assert ran.returncode == 1 and "Gitea did not take it" in ran.stderr and "another" not in ran.stderr


def test_the_jobs_of_a_run_are_given_to_triage(gitea: Any, tmp_path: Path):
    (tmp_path / "geocrop").write_text(
        '#!/bin/sh\necho "$@" >>"$SEEN"\n[ "$3" = --passed ] || tail -c 9 "$3" >>"$SEEN"\n'
    )
    (tmp_path / "geocrop").chmod(0o755)
    env = {
        **os.environ, "GITHUB_SERVER_URL": gitea[0], "GITHUB_REPOSITORY": "owner/geocrop", "GITHUB_RUN_ID": "12",
        "GITHUB_SHA": REVISION, "TOKEN": TOKEN, "GEOCROP": str(tmp_path / "geocrop"), "SEEN": str(tmp_path / "seen"),
    }  # fmt: skip
    ran = subprocess.run([sys.executable, ROOT / ".ci/triage.py"], env=env, capture_output=True, text=True)
    assert ran.returncode == 0 and "1 failed jobs, 2 that passed" in ran.stdout, ran.stderr
    seen = (tmp_path / "seen").read_text()
    passed = [line.split()[2:5] for line in seen.splitlines() if "--passed" in line]
    assert passed == [["--passed", "--name", "job-1"], ["--passed", "--name", "job-2"]]
    assert "--name job-3" in seen and f"commit={REVISION}" in seen and "the end" in seen
    (log,) = (ROOT / "build/failed").glob("3-job-3.log")
    assert log.stat().st_size <= script("triage").MOST_BYTES
    log.unlink()
    assert subprocess.run([sys.executable, ROOT / ".ci/triage.py"], env=env | {"TOKEN": "no"}).returncode == 1


class Shelf(Answering):
    "Artifacts of run 12 as Gitea keeps them: routers/api/actions/artifacts.go and artifacts_utils.go."

    chunks: dict[str, bytes]
    kept: dict[str, bytes]
    PATH = "/api/actions_pipeline/_apis/pipelines/workflows/12/artifacts"

    def _asked(self) -> tuple[str, httpx.QueryParams, bytes]:
        url = httpx.URL(self.path)
        return url.path, url.params, self.rfile.read(int(self.headers["Content-Length"]))

    def _answer(self, page: Any, status: int = 200) -> None:
        super()._answer(page, status if self.headers["Authorization"] == f"Bearer {TOKEN}" else 401)

    def do_POST(self) -> None:
        path, _, body = self._asked()
        wish = json.loads(body)
        assert path == self.PATH and wish["Type"] == "actions_storage" and wish["RetentionDays"] > 0
        place = hashlib.md5(wish["Name"].encode(), usedforsecurity=False).hexdigest()
        url = f"https://forge.example.org{self.PATH}/{place}/upload?retentionDays={wish['RetentionDays']}"
        self._answer({"fileContainerResourceUrl": url})

    def do_PUT(self) -> None:
        path, params, body = self._asked()
        name = params["itemPath"].split("/")[0]
        assert path == f"{self.PATH}/{hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()}/upload"
        assert params["retentionDays"] == "30"
        whole = f"bytes 0-{len(body) - 1}/{len(body)}"
        summed = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
        fits = (self.headers["Content-Range"], self.headers["x-actions-results-md5"]) == (whole, summed)
        self.chunks[params["itemPath"]] = body
        self._answer({"message": "success"}, 200 if fits else 500)

    def do_PATCH(self) -> None:
        path, params, _ = self._asked()
        assert path == self.PATH
        self.kept.update({k: v for k, v in self.chunks.items() if k.startswith(params["artifactName"] + "/")})
        self._answer({"message": "success"})


def test_pictures_are_kept_with_the_run(tmp_path: Path):
    handler = type("Handler", (Shelf,), {"chunks": {}, "kept": {}})
    folder = tmp_path / "screenshots"
    (folder / "phone").mkdir(parents=True)
    pictures = {"01_land cover.png": os.urandom(70_000), "phone/20.png": b"small"}
    with answering(ThreadingHTTPServer(("127.0.0.1", 0), handler)) as url:
        env = {
            **os.environ, "ACTIONS_RUNTIME_URL": f"{url}/api/actions_pipeline/", "ACTIONS_RUNTIME_TOKEN": TOKEN,
            "GITHUB_RUN_ID": "12",
        }  # fmt: skip

        def keep(**more: str) -> subprocess.CompletedProcess[str]:
            words = [sys.executable, ROOT / ".ci/keep.py", "screenshots", folder]
            return subprocess.run(words, env=env | more, capture_output=True, text=True)

        ran = keep()
        assert ran.returncode == 1 and "found 0 files" in ran.stderr  # a run without pictures has skipped something
        for name, content in pictures.items():
            (folder / name).write_bytes(content)
        (folder / "empty.png").touch()
        ran = keep(ACTIONS_RUNTIME_TOKEN="another")
        assert ran.returncode == 1 and "did not take" in ran.stderr and "another" not in ran.stderr
        assert not handler.kept
        ran = keep()
        assert ran.returncode == 0 and "screenshots: 2 files" in ran.stdout, ran.stderr
    assert handler.kept == {f"screenshots/{name}": content for name, content in pictures.items()}
    del env["ACTIONS_RUNTIME_URL"]
    assert keep().returncode == 2


# --- images ----------------------------------------------------------------------------------------------------------

BUILDER = """#!/bin/sh
echo "$@" >>"$SEEN/builder"
while [ "$1" != --metadata-file ]; do shift; done
printf '{"containerimage.digest": "%s"}' "$SAYS" >"$2"
"""
OTHER = """#!/bin/sh
echo "$(basename "$0") $*" >>"$SEEN/others"
case "$*" in *"$BAD"*) exit 1 ;; esac
"""


@pytest.fixture
def tools(tmp_path: Path) -> dict[str, str]:
    "A builder, a scanner and a signer that write down what they were asked; BAD: of what the scanner finds something."
    folder, seen = tmp_path / "tools", tmp_path / "seen"
    folder.mkdir()
    seen.mkdir()
    for name, text in (("buildctl-daemonless.sh", BUILDER), ("trivy", OTHER), ("cosign", OTHER)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}", "SEEN": str(seen), "SAYS": DIGEST, "BAD": "nothing",
            "REGISTRY": "git.example.org/geocrop", "IMAGES": "api worker", "COSIGN_PRIVATE_KEY": "key",
            "REGISTRY_USER": "ci", "REGISTRY_TOKEN": "registry-token"}  # fmt: skip


def test_images_are_built_by_revision_scanned_and_signed(forge: Forge, tools: dict[str, str]):
    ran = forge.run(".ci/build-all", **tools)
    assert ran.returncode == 0, ran.stderr
    revision, base = git(forge.clone, "rev-parse", "HEAD"), (ROOT / "serving/images/base").read_text().strip()
    built = (Path(tools["SEEN"]) / "builder").read_text().splitlines()
    assert [re.findall(r"target=(\w+)", line) for line in built] == [["api"], ["worker"]]
    for name, line in zip(("api", "worker"), built, strict=True):
        assert f"name=git.example.org/geocrop/{name}:{revision},push=true" in line and f"BASE={base}" in line
    others = (Path(tools["SEEN"]) / "others").read_text().splitlines()
    assert [line.split()[:2] for line in others] == [["trivy", "image"], ["cosign", "sign"], ["cosign", "attest"]] * 2
    assert all(
        f"git.example.org/geocrop/{name}@{DIGEST}" in line for name, line in zip(["api"] * 3, others[:3], strict=True)
    )
    assert not any("registry-token" in line for line in built + others)
    page = json.loads((forge.clone / "build/worker.provenance.json").read_text())
    found = {one["uri"].split(":")[0]: one["digest"] for one in page["buildDefinition"]["resolvedDependencies"]}
    assert found["git+file"] == {"gitCommit": revision} and found["docker"] == {"sha256": base.rpartition(":")[2]}


def test_an_image_with_a_critical_hole_stops_everything(forge: Forge, tools: dict[str, str]):
    ran = forge.run(".ci/build-all", **tools | {"BAD": "geocrop/api@"})
    assert ran.returncode == 1
    assert "cosign" not in (Path(tools["SEEN"]) / "others").read_text()
    assert not (forge.clone / "build/worker.digest").exists()


def test_a_builder_that_tells_no_digest_and_a_base_without_one_are_errors(forge: Forge, tools: dict[str, str]):
    ran = forge.run(".ci/build-image", "api", "git.example.org/geocrop", REVISION, **tools | {"SAYS": "none"})
    assert ran.returncode == 1 and "found none" in ran.stderr
    forge.write("serving/images/base", "docker.io/library/python:3.11\n")
    ran = forge.run(".ci/build-image", "api", "git.example.org/geocrop", REVISION, **tools)
    assert ran.returncode == 2 and "expected a digest" in ran.stderr
    assert forge.run(".ci/pin", "--check").returncode == 1
    ran = forge.run(".ci/build-image", "api", "git.example.org/geocrop", "latest", **tools)
    assert ran.returncode == 2 and "expected a git revision" in ran.stderr


def test_a_release_changes_two_lines_of_each_image_and_starts_nothing(forge: Forge, tools: dict[str, str]):
    assert forge.run(".ci/build-all", **tools).returncode == 0
    built = git(forge.clone, "rev-parse", "HEAD")
    other = forge.folder / "other"  # somebody pushes while the images are built
    subprocess.run(["git", "clone", "-q", forge.bare, other], check=True)
    (other / "news").write_text("news")
    git(other, "add", "news")
    git(other, "-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-q", "-m", "news")
    git(other, "push", "-q", "origin", "main")
    ran = forge.run(".ci/release")
    assert ran.returncode == 0, ran.stderr
    assert "[skip ci]" in git(forge.bare, "log", "-1", "--format=%s", "main")
    assert git(forge.bare, "log", "--format=%s", "main").count("\n") == 2  # begin, news, release
    assert git(forge.bare, "diff", "--name-only", "main~1", "main") == "k8s/release/kustomization.yaml"
    after = git(forge.bare, "show", "main:k8s/release/kustomization.yaml") + "\n"
    line = f"    newTag: {built}\n    digest: {DIGEST}\n"
    assert after == KUSTOMIZATION.replace("    newTag: 0.1.0\n", line)
    git(forge.clone, "checkout", "-q", built)  # the run is repeated
    again = forge.run(".ci/release")
    assert "says so already" in again.stdout and git(forge.bare, "log", "--format=%s", "main").count("\n") == 2
    workflow = yaml.safe_load((ROOT / ".gitea/workflows/build.yaml").read_text())
    assert workflow[True]["push"]["paths-ignore"] == ["k8s/release/kustomization.yaml"]  # YAML's `on`


@pytest.mark.parametrize(
    ("tag", "digests", "said"),
    [
        ("latest", {"api": DIGEST}, "40 digits of a commit"),
        (REVISION, {"web": DIGEST}, "add it there first"),
        (REVISION, {"api": "sha256:1"}, "sha256: and 64 digits"),
        (REVISION, {}, "found none"),
    ],
)
def test_a_release_of_what_is_none_is_refused(
    tmp_path: Path, capsys: Any, tag: str, digests: dict[str, str], said: str
):
    page = tmp_path / "kustomization.yaml"
    page.write_text(KUSTOMIZATION)
    for name, digest in digests.items():
        (tmp_path / f"{name}.digest").write_text(digest)
    assert script("tag").main(page, tag, tmp_path) == 2
    assert said in capsys.readouterr().err and page.read_text() == KUSTOMIZATION


def test_history_keeps_every_run(forge: Forge):
    for number in (1, 2):
        forge.write("build/chaos.xml", f"<run n='{number}'/>")
        git(forge.clone, "commit", "-q", "--allow-empty", "-m", f"{number}")
        ran = forge.run(".ci/history", "chaos", "build/chaos.xml")
        assert ran.returncode == 0, ran.stderr
    kept = git(forge.bare, "ls-tree", "-r", "--name-only", "history").splitlines()
    assert len(kept) == 2 and all(re.fullmatch(r"chaos/\d{4}-\d\d-\d\d-[0-9a-f]{12}/chaos.xml", name) for name in kept)
    assert git(forge.bare, "log", "--format=%s", "history").count("\n") == 1
    assert "history" not in git(forge.bare, "log", "--format=%s", "main")


# --- security --------------------------------------------------------------------------------------------------------

LOCK = "anyio==4.16.0 \\\n    --hash=sha256:" + "0" * 64 + "\nidna==3.20 \\\n    --hash=sha256:" + "1" * 64 + "\n"
HOLE = {"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["3.21"]}


def audited(**idna: Any) -> list[str]:
    others = [{"name": "anyio", "version": "4.16.0", "vulns": []}]
    return script("audit").judged({"dependencies": [*others, *([{"name": "idna", **idna}] if idna else [])]}, LOCK)


def test_an_audit_that_asked_about_less_than_all_has_failed():
    assert audited(version="3.20", vulns=[]) == []
    assert audited(version="3.20", vulns=[HOLE]) == ["idna 3.20: PYSEC-1, fixed in 3.21"]
    assert audited() == ["idna 3.20: not asked about: no answer"]
    assert audited(skip_reason="no network") == ["idna 3.20: not asked about: no network"]
    assert audited(version="3.19", vulns=[]) == ["idna 3.20: not asked about: 3.19"]
    ran = subprocess.run([sys.executable, ROOT / ".ci/audit.py", ROOT / "bootstrap.lock"], input="", text=True,
                         capture_output=True)  # fmt: skip
    assert ran.returncode == 1 and "no answer that can be read" in ran.stdout


def test_a_list_of_software_that_lacks_something_is_none():
    one = {"name": "Anyio", "version": "4.16.0", "externalReferences": [{"hashes": [{"alg": "SHA-256"}]}]}
    two = {"name": "idna", "version": "3.20", "externalReferences": [{"hashes": [{"alg": "SHA-256"}]}]}
    missing = script("sbom").missing
    assert missing({"components": [one, two]}, LOCK) == []
    assert missing({"components": [one, two | {"version": "3.19"}]}, LOCK) == ["idna 3.20"]
    assert missing({"components": [one, {"name": "idna", "version": "3.20"}]}, LOCK) == ["idna 3.20"]  # without hash


# --- locks of the images ---------------------------------------------------------------------------------------------


def test_a_lock_that_is_not_part_of_the_project_s_own_is_refused(tmp_path: Path):
    known = LOCK
    good, bad = tmp_path / "good.lock", tmp_path / "bad.lock"
    good.write_text(LOCK.split("idna")[0])
    assert images.locked(good, known) == []
    for text in (LOCK.replace("3.20", "3.21"), LOCK.replace("1" * 64, "2" * 64), "idna==3.20\n"):
        bad.write_text(text)
        assert len(images.locked(bad, known)) == 1, text
    assert images.locked(tmp_path / "absent.lock", known)


@pytest.mark.parametrize("change", [("USER 10001:10001\n", ""), ("HEALTHCHECK", "# HEALTHCHECK"), ("CMD [", "# CMD [")])
def test_a_target_that_lacks_something_is_refused(tmp_path: Path, change: tuple[str, str]):
    folder = tmp_path / "serving/images"
    folder.mkdir(parents=True)
    text = (ROOT / "serving/images/Dockerfile").read_text()
    (folder / "Dockerfile").write_text(text)
    assert images.targets(folder / "Dockerfile") == []
    assert change[0] in text
    (folder / "Dockerfile").write_text(text.replace(*change))
    assert images.targets(folder / "Dockerfile")
