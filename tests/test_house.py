"""The rules of the house that a machine can hold: floors, imports, generated code, stages, locks, paths."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from geocrop.store import modules

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted(p for p in (ROOT / "nbs").rglob("*.ipynb") if not any(part.startswith(".") for part in p.parts))
STAGES = [p for p in NOTEBOOKS if p.parent.name == "pipelines"]
PROJECTS = [ROOT, *sorted(p.parent for p in ROOT.glob("profiles/*/params.yaml"))]

LABORATORY = [
    "nbdev",
    "fastcore",
    "IPython",
    "papermill",
    "dvc",
]  # tools of the notebooks: never needed to run a module
SCIENCE = ["numpy", "pandas", "xarray", "rasterio", "numba", "sklearn", "xgboost", "lightgbm", "catboost", "mlflow"]
LIGHT = ["schema", "settings", "store"]  # all that the API of the serving layer imports


# --- reading notebooks and modules -----------------------------------------------------------------------------------


def code_cells(notebook: Path) -> list[dict]:
    return [cell for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code"]


def source(cell: dict) -> str:
    "Source of a cell without IPython's own lines (%magic, !command), which are no Python."
    return "".join(
        line for line in "".join(cell["source"]).splitlines(True) if not line.lstrip().startswith(("%", "!"))
    )


def exported(notebook: Path) -> tuple[str | None, str]:
    "The module that a notebook writes, and the code that it exports."
    cells = [source(cell) for cell in code_cells(notebook)]
    names = [m[1] for text in cells for m in re.finditer(r"^#\|\s*default_exp\s+([\w.]+)", text, re.M)]
    code = [text for text in cells if re.match(r"\s*#\|\s*exports?i?\b", text)]
    return (names[0] if names else None), "\n".join(code)


def geocrop_imports(code: str) -> set[str]:
    "Modules of geocrop that a piece of code imports anywhere, also inside functions."
    found: set[str] = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("geocrop.")}
        elif isinstance(node, ast.ImportFrom):
            inside = node.module or ""
            if node.level == 0 and inside.split(".")[0] != "geocrop":
                continue
            inside = inside.removeprefix("geocrop").lstrip(".")
            found |= {inside.split(".")[0]} if inside else {alias.name for alias in node.names}
    return {name for name in found if (ROOT / "geocrop" / f"{name}.py").is_file()}


def with_all_below(names: set[str]) -> set[str]:
    "Modules, and what they import, and so on."
    return {module.removeprefix("geocrop.") for name in names for module in modules(f"geocrop.{name}")}


def tracked_files() -> Iterator[Path]:
    "Files of the repository: what git knows, or would take."
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return (ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file())


# --- floors and imports ----------------------------------------------------------------------------------------------


def test_a_module_imports_only_from_lower_floors():
    floors = {}
    for notebook in NOTEBOOKS:
        module, _ = exported(notebook)
        if module:
            assert re.match(r"\d\d_", notebook.name), (
                f"{notebook.name} exports {module}: its name needs a floor, NN_name"
            )
            floors[module] = notebook.name[:2]
    wrong = [
        f"{notebook.name} imports {name} of floor {floors.get(name, 'unknown')}"
        for notebook in NOTEBOOKS
        for name in geocrop_imports(exported(notebook)[1])
        if not floors.get(name, "99") < notebook.name[:2]
    ]
    assert floors["schema"] == "00"
    assert not wrong


def test_the_package_itself_imports_nothing():
    tree = ast.parse((ROOT / "geocrop/__init__.py").read_text())
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]


def loaded_by(modules: list[str], unwanted: list[str]) -> dict[str, list[str]]:
    "Import modules one after the other in a new process; those of `unwanted` that each one brought."
    code = f"""if True:
        import importlib, json, sys
        brought, before = {{}}, set()
        for name in {modules!r}:
            importlib.import_module("geocrop." + name)
            now = {{tool for tool in {unwanted!r} if tool in sys.modules}}
            brought[name], before = sorted(now - before), now
        print(json.dumps(brought))
    """
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return {name: tools for name, tools in json.loads(ran.stdout.splitlines()[-1]).items() if tools}


def test_modules_import_no_laboratory_tool():
    modules = sorted(p.stem for p in (ROOT / "geocrop").glob("*.py") if not p.stem.startswith("_"))
    assert set(LIGHT) <= set(modules)
    assert loaded_by(modules, LABORATORY) == {}


def test_schema_settings_and_store_import_no_science():
    assert loaded_by(LIGHT, LABORATORY + SCIENCE) == {}


def test_the_service_reaches_the_science_only_through_its_worker():
    for folder in ("jobs", "api"):
        files = sorted((ROOT / "serving" / folder).rglob("*.py"))
        assert files, folder
        for path in files:
            nodes = ast.walk(ast.parse(path.read_text()))
            imports = [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]
            others = [node for node in imports if not getattr(node, "level", 0)]  # than of its own folder
            found = geocrop_imports(ast.unparse(ast.Module(others, [])))
            assert found <= {*LIGHT}, f"{path.relative_to(ROOT)} imports {sorted(found - {*LIGHT})}"


def test_no_exported_star_and_no_pickle_is_loaded():
    scripts = [p for p in tracked_files() if p.suffix == ".py" and "geocrop" not in p.relative_to(ROOT).parts[:1]]
    texts = {p: p.read_text() for p in scripts}
    texts |= {p: "\n".join(source(cell) for cell in code_cells(p)) for p in NOTEBOOKS}
    loaders = {"pickle", "cPickle", "joblib", "dill", "cloudpickle", "torch"}
    for path, text in texts.items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                of = node.func.value.id if isinstance(node.func.value, ast.Name) else ""
                called = f"{of}.{node.func.attr}"
                assert not (of in loaders and node.func.attr in ("load", "loads")), f"{path.name}: {called}"
                assert node.func.attr != "read_pickle", f"{path.name}: {called}"
            if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
                assert isinstance(node.value, ast.Constant) and node.value.value is False, f"{path.name}: allow_pickle"
    for notebook in NOTEBOOKS:
        for node in ast.walk(ast.parse(exported(notebook)[1])):
            if isinstance(node, ast.ImportFrom):
                assert "*" not in {alias.name for alias in node.names}, f"{notebook.name}: from {node.module} import *"


# --- generated code and clean notebooks ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    "A copy of the notebooks, exported and cleaned anew. The work tree itself is not touched, dirty or not."
    copy = tmp_path_factory.mktemp("fresh")
    shutil.copy(ROOT / "pyproject.toml", copy)
    shutil.copytree(ROOT / "nbs", copy / "nbs", ignore=shutil.ignore_patterns(".*"))
    (copy / "geocrop").mkdir()
    shutil.copy(ROOT / "geocrop/__init__.py", copy / "geocrop")
    tools = Path(sys.executable).parent
    for tool in ("nbdev-export", "nbdev-clean"):
        subprocess.run([tools / tool], cwd=copy, check=True, capture_output=True)
    return copy


def different(here: Path, there: Path, pattern: str) -> list[str]:
    "Names of files that are not the same in two folders, or in one only."
    names = {p.relative_to(base) for base in (here, there) for p in base.rglob(pattern) if not p.name.startswith(".")}
    names = {n for n in names if n.name != "_modidx.py" and not any(part.startswith((".", "__py")) for part in n.parts)}
    return sorted(
        str(n) for n in names
        if not ((here / n).is_file() and (there / n).is_file() and (here / n).read_bytes() == (there / n).read_bytes())
    )  # fmt: skip


def test_geocrop_is_a_fresh_export(fresh: Path):
    assert not different(ROOT / "geocrop", fresh / "geocrop", "*.py"), "Run: make export"


def test_notebooks_are_clean(fresh: Path):
    assert not different(ROOT / "nbs", fresh / "nbs", "*.ipynb"), "Run: make export"


def test_the_readme_is_what_the_index_shows(tmp_path: Path):
    "Text only: the pictures are those of the same outputs."
    command = [Path(sys.executable).parent / "jupyter", "nbconvert", "--to", "markdown", ROOT / "nbs/index.ipynb"]
    options = ["--output-dir", tmp_path, "--output", "README", "--NbConvertApp.output_files_dir=docs/readme"]
    subprocess.run([*command, *options], check=True, capture_output=True)
    assert (ROOT / "README.md").read_text() == (tmp_path / "README.md").read_text(), "Run: make readme"
    for split in ("by_block", "by_field", "by_random"):  # the saved outputs are those of the committed scores
        score = json.loads((ROOT / "reports/metrics.json").read_text())[split]["ensemble"]
        told = f"macro F1 {score['macro_f1']:.3f}  (95 % {score['low']:.3f} to {score['high']:.3f}"
        assert told in (ROOT / "README.md").read_text(), f"{split}: run nbs/index.ipynb, then: make readme"
    assert not different(ROOT / "docs/readme", tmp_path / "docs/readme", "*.png"), "Run: make readme"


# --- stages ----------------------------------------------------------------------------------------------------------


def test_each_stage_notebook_has_one_cell_of_parameters_and_defines_nothing():
    for notebook in NOTEBOOKS:
        tagged = [cell for cell in code_cells(notebook) if "parameters" in cell["metadata"].get("tags", [])]
        assert len(tagged) == (notebook in STAGES), f"{notebook.name}: {len(tagged)} cells tagged parameters"
    for notebook in STAGES:
        tree = ast.parse("\n".join(source(cell) for cell in code_cells(notebook)))
        defined = [n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.ClassDef)]
        assert not defined, f"{notebook.name} defines {defined}: code belongs into a numbered notebook"
        assert exported(notebook) == (None, ""), f"{notebook.name} exports"


def stages() -> list:
    from dvc.repo import Repo

    with Repo(str(ROOT)) as repo:
        return [stage for stage in repo.index.stages if stage.cmd]


def code_of(command: str) -> set[str]:
    "Files of the repository's code that a stage's command runs: module, runner, notebook, and all that they import."
    modules, files = set(), set()
    for runner in re.findall(r"-m (\w+)(?![\w.])", command):
        if (ROOT / f"{runner}.py").is_file():
            files.add(f"{runner}.py")
            modules |= geocrop_imports((ROOT / f"{runner}.py").read_text())
    # `geocrop simulate` is geocrop/simulate.py; the command line itself only reads its arguments
    modules |= set(re.findall(r"(?:^|\s)geocrop(?:\.cli)? (\w+)", command))
    for name in re.findall(r"[\w/.-]*nbs/pipelines/(\w+)\.ipynb", command):
        files.add(f"nbs/pipelines/{name}.ipynb")
        modules |= {
            m for cell in code_cells(ROOT / f"nbs/pipelines/{name}.ipynb") for m in geocrop_imports(source(cell))
        }
    return files | {f"geocrop/{name}.py" for name in with_all_below(modules)}


def test_each_stage_depends_on_the_code_it_runs_and_on_data_that_something_makes():
    every = stages()
    made = [Path(out.fs_path) for stage in every for out in stage.outs]
    for stage in every:
        paths = [Path(os.path.normpath(dep.fs_path)) for dep in stage.deps if dep.fs_path and dep.protocol == "local"]
        paths = [p for p in paths if not hasattr(p, "params")]
        inside = {p.relative_to(ROOT).as_posix() for p in paths if ROOT in p.parents and p.name != "params.yaml"}
        code = {p for p in inside if p.startswith(("geocrop/", "nbs/")) or ("/" not in p and p.endswith(".py"))}
        expected = code_of(stage.cmd)
        assert code == expected, (
            f"{stage.addressing}: missing {sorted(expected - code)}, needless {sorted(code - expected)}"
        )
        for name in inside - code:
            path = ROOT / name
            known = any(out == path or out in path.parents or path in out.parents for out in made)
            given = path.name == "settings.ini" or (path / "README.md").is_file()  # a folder that its user fills
            assert known or given, f"{stage.addressing}: nothing makes {name}"


def test_each_stage_watches_the_sections_of_params_that_it_reads():
    from dvc.dependency.param import ParamsDependency

    for stage in stages():
        watched = {key for dep in stage.deps if isinstance(dep, ParamsDependency) for key in dep.params}
        assert any(key.split(".")[0] == "base" for key in watched), f"{stage.addressing}: params lack base"
        for name in re.findall(r"nbs/pipelines/(\w+)\.ipynb", stage.cmd):
            text = "\n".join(source(cell) for cell in code_cells(ROOT / f"nbs/pipelines/{name}.ipynb"))
            read = set(re.findall(r"\bparams\(\s*[\"'](\w+)", text))
            assert read <= watched, f"{stage.addressing}: reads {sorted(read - watched)} without watching them"


# --- configuration ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", PROJECTS, ids=lambda p: p.name)
def test_params_and_settings_of_each_project_folder_load(folder: Path):
    from geocrop import settings

    for section in settings.PARAMS:
        assert settings.params(section, folder)
    for section in settings.SETTINGS:
        assert settings.settings(section, folder)
    assert settings.season(folder).first < settings.season(folder).last
    assert settings.area(folder)
    assert len(settings.legend(folder).ids) >= 2


@pytest.mark.parametrize("folder", PROJECTS, ids=lambda p: p.name)
def test_imagery_and_labels_lie_below_the_source_that_dvc_watches(folder: Path, monkeypatch: pytest.MonkeyPatch):
    from geocrop import settings

    for key in [key for key in os.environ if key.startswith("GEOCROP_")]:
        monkeypatch.delenv(key)
    source = os.path.normpath(folder / yaml.safe_load((folder / "profile.yaml").read_text())["source"])
    labels = settings.settings("labels", folder)
    for place in (settings.settings("catalogue", folder).href, labels.fields, labels.truth, labels.reference):
        remote = "://" in place  # cannot be watched; its list is frozen in items.json
        assert not place or remote or place.startswith(source + os.sep), f"{place} is not below {source}"


def test_the_embedded_season_is_neither_trivial_nor_hopeless():
    "The lesson of the season, on the committed scores: a plain forest, blocks held out, and the gap to random pixels."
    scores = json.loads((ROOT / "reports/metrics.json").read_text())
    blocked, random = (scores[split]["random forest"]["macro_f1"] for split in ("by_block", "by_random"))
    assert 0.65 <= blocked <= 0.90
    assert random > blocked + 0.05


def test_locks_hold_versions_and_hashes_only():
    for name in ("requirements.lock", "bootstrap.lock"):
        for line in (ROOT / name).read_text().splitlines():
            assert re.fullmatch(
                r"[a-z0-9._-]+==[^\s;:/@]+( ; [\w .'<>=!()-]+)? \\|    --hash=sha256:[0-9a-f]{64}( \\)?", line
            ), line


def test_the_lock_has_what_pyproject_asks_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    locked = dict(re.findall(r"^([a-z0-9._-]+)==([^\s;]+)", (ROOT / "requirements.lock").read_text(), re.M))
    asked = project["dependencies"] + [r for extra in project["optional-dependencies"].values() for r in extra]
    for requirement in map(Requirement, asked):
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        if name != "geocrop":
            assert name in locked, f"{requirement} is not in requirements.lock. Run: make lock"
            assert requirement.specifier.contains(locked[name]), (
                f"{requirement}: {locked[name]} is locked. Run: make lock"
            )


# --- what must not stand in the repository ---------------------------------------------------------------------------


def test_no_file_names_a_place_of_this_machine_or_a_registry():
    shared_places = {"/", "/tmp", "/var/tmp", "/home", "/srv", "/opt", "/usr/src", "/builds"}
    machine = [str(ROOT), str(Path.home())] + ([str(ROOT.parent)] if str(ROOT.parent) not in shared_places else [])
    places = "|".join(
        [*(re.escape(p) for p in machine if p != "/"), r"/home/[a-z]\w*", r"/Users/[A-Za-z]\w*", "/ro[o]t"]
    )
    found = re.compile(rf"(?<![\w.$}}])(?:{places})/\w")
    registry = re.compile(
        r"--(?:extra-)?index-url|^(?:registry|index-url) *=|\"resolved\": \"https?:|//[\w.]*pypi[.]\w+/simple", re.M
    )
    for path in tracked_files():
        text = path.read_bytes().decode("utf-8", errors="ignore")
        for pattern in (found, registry):
            hit = pattern.search(text)
            assert not hit, f"{path.relative_to(ROOT)}: {text[max(0, hit.start() - 40) : hit.end() + 40]!r}"


def test_no_tracked_file_is_larger_than_2_mb():
    assert not [f"{p.relative_to(ROOT)} {p.stat().st_size}" for p in tracked_files() if p.stat().st_size > 2_000_000]
