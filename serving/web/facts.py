"""What the technical pages show, taken from the project: `facts.py` writes src/facts.json, `--check` compares."""

import ast
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
FACTS = Path(__file__).parent / "src" / "facts.json"
SECTIONS = ("Store", "Database", "Redis", "Api", "Jobs", "Telemetry")  # of geocrop.settings: what the service is told
PACKAGES = (
    "fastapi", "uvicorn", "sqlalchemy", "psycopg", "geoalchemy2", "alembic", "redis", "rq", "obstore", "titiler-core",
    "rio-tiler", "pyjwt", "pwdlib", "prometheus-client", "rasterio", "odc-geo", "numba", "xgboost-cpu", "lightgbm",
    "catboost", "mlflow", "dvc",
)  # fmt: skip
NPM = ("react", "ol", "typescript", "vite")
METRICS = re.compile(r"(Counter|Gauge|Histogram|Summary)(MetricFamily)?")
METHODS = ("get", "post", "put", "delete")


def facts() -> dict[str, Any]:
    "All of them."
    return {
        "version": _version(),
        "stages": list(_stages()),
        "modules": list(_modules()),
        "settings": list(_settings()),
        "score": _score(),
        "gate": list(_gate()),
        "routes": sorted(_routes(), key=lambda route: (route["path"], route["method"])),
        "metrics": sorted(_metrics(), key=lambda metric: metric["name"]),
        "manifests": list(_manifests()),
        "packages": _packages(),
    }


def _version() -> str:
    found = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.M)
    assert found
    return found[1]


# --- pipeline --------------------------------------------------------------------------------------------------------


def _stages() -> Iterator[dict[str, Any]]:
    "Stages of dvc.yaml: what goes in and comes out, and how many modules of code they watch."
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    for name, stage in stages.items():
        deps = [dep.replace("${source}", "imagery and labels") for dep in stage["deps"]]
        data = [dep for dep in deps if not dep.startswith("${root}") and dep != "settings.ini"]
        outs = [_path(out) for kind in ("outs", "metrics", "plots") for out in stage.get(kind, [])]
        notebook = re.search(r"nbs/pipelines/(\w+)\.ipynb", stage["cmd"])
        yield {
            "name": name,
            "says": _subtitle(ROOT / "nbs" / "pipelines" / f"{notebook[1]}.ipynb") if notebook else _says(name),
            "code": sum(dep.startswith("${root}/geocrop/") for dep in deps),
            "params": stage["params"],
            "deps": data,
            "outs": [out for out in outs if not out.endswith(".ipynb")],
        }


def _path(out: str | dict[str, Any]) -> str:
    "An output's path; DVC writes one with options as a mapping of one key."
    return out if isinstance(out, str) else next(iter(out))


def _score() -> dict[str, Any]:
    "The score that counts, beside the one by which maps are usually sold."
    scores = json.loads((ROOT / "reports" / "metrics.json").read_text())
    return {
        split: {key: scores[split]["ensemble"][key] for key in ("macro_f1", "low", "high")}
        for split in ("by_block", "by_random")
    }


def _gate() -> Iterator[dict[str, Any]]:
    "Rules that the model passed, and by how much."
    for name, rule in json.loads((ROOT / "reports" / "gate.json").read_text())["rules"].items():
        yield {"name": name} | {key: rule[key] for key in ("found", "expected", "passed")}


# --- library ---------------------------------------------------------------------------------------------------------


def _modules() -> Iterator[dict[str, Any]]:
    "Modules of the library by floor, as their notebooks introduce them."
    for notebook in sorted((ROOT / "nbs").glob("[0-9][0-9]_*.ipynb")):
        module = _exported(notebook)
        if module:
            yield {"floor": notebook.name[:2], "name": module, "says": _subtitle(notebook)}


def _says(module: str) -> str:
    "What a module's notebook says of it, for a stage that is a command."
    return next(row["says"] for row in _modules() if row["name"] == module)


def _cells(notebook: Path, kind: str) -> Iterator[str]:
    for cell in json.loads(notebook.read_text())["cells"]:
        if cell["cell_type"] == kind:
            yield "".join(cell["source"])


def _exported(notebook: Path) -> str | None:
    found = re.search(r"^#\|\s*default_exp\s+([\w.]+)", "\n".join(_cells(notebook, "code")), re.M)
    return found[1] if found else None


def _subtitle(notebook: Path) -> str:
    found = re.search(r"^> (.+)", next(_cells(notebook, "markdown")), re.M)
    return found[1] if found else ""


def _settings() -> Iterator[dict[str, Any]]:
    "Keys of settings.ini that the service reads, with their defaults and what they mean."
    text = (ROOT / "geocrop" / "settings.py").read_text()
    lines = text.splitlines()
    for node in ast.parse(text).body:
        if isinstance(node, ast.ClassDef) and node.name in SECTIONS:
            for field in node.body:
                if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and field.value:
                    yield {
                        "key": f"{node.name.lower()}.{field.target.id}",
                        "default": ast.literal_eval(field.value),
                        "says": lines[field.lineno - 1].partition("#")[2].strip(),
                    }


# --- service ---------------------------------------------------------------------------------------------------------


def _calls(path: Path) -> list[ast.Call]:
    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]


def _strings(call: ast.Call) -> list[str]:
    return [arg.value for arg in call.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]


def _keywords(call: ast.Call) -> dict[str, Any]:
    return {k.arg: k.value.value for k in call.keywords if k.arg and isinstance(k.value, ast.Constant)}


def _routes() -> Iterator[dict[str, Any]]:
    "Routes that the API documents, as `@router.get(PATH, summary=...)` says."
    for module in sorted((ROOT / "serving" / "api").glob("*.py")):
        calls = _calls(module)
        prefix = "".join(_keywords(call).get("prefix", "") for call in calls if _name(call) == "APIRouter")
        for call in calls:
            says = _keywords(call).get("summary")
            if isinstance(call.func, ast.Attribute) and call.func.attr in METHODS and _strings(call) and says:
                yield {"method": call.func.attr.upper(), "path": prefix + _strings(call)[0], "says": says}


def _metrics() -> Iterator[dict[str, Any]]:
    "Metrics, where they are made: `Histogram(NAME, HELP, ...)`."
    for module in sorted(p for part in ("api", "jobs", "worker") for p in (ROOT / "serving" / part).rglob("*.py")):
        for call in _calls(module):
            kind = METRICS.fullmatch(_name(call))
            if kind and len(_strings(call)) >= 2:
                name, says = _strings(call)[:2]
                yield {"name": name, "kind": kind[1].lower(), "says": says}


def _name(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else ""


def _manifests() -> Iterator[dict[str, Any]]:
    "Objects of the cluster, file by file."
    for path in sorted((ROOT / "k8s").rglob("*.yaml")):
        name = path.relative_to(ROOT).as_posix()
        if name.startswith("k8s/check/"):  # tools, and what they fetched
            continue
        for found in yaml.safe_load_all(path.read_text()):
            if isinstance(found, dict) and found.get("kind") and found.get("metadata", {}).get("name"):
                yield {"file": name, "kind": found["kind"], "name": found["metadata"]["name"]}


def _packages() -> dict[str, str]:
    "Versions that are locked."
    locked = dict(re.findall(r"^([a-z0-9._-]+)==([^\s;]+)", (ROOT / "requirements.lock").read_text(), re.M))
    npm = json.loads((Path(__file__).parent / "package-lock.json").read_text())["packages"]
    return {name: locked[name] for name in PACKAGES if name in locked} | {
        name: npm[f"node_modules/{name}"]["version"] for name in NPM
    }


def main() -> int:
    "Write the facts, or with --check say whether they are still true."
    text = json.dumps(facts(), indent=1, ensure_ascii=False) + "\n"
    if "--check" not in sys.argv[1:]:
        FACTS.write_text(text, encoding="utf-8")
        return 0
    if FACTS.is_file() and FACTS.read_text(encoding="utf-8") == text:
        return 0
    print(f"{FACTS.relative_to(ROOT)} is not what the project says now. Run: make web", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
