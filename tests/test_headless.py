"""Notebooks run by papermill leave the same bytes each time, and say plainly what stopped them."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

RESTLESS = [
    # text that a timer cuts: the kernel sends what was printed every fifth of a second
    "import sys, time\n"
    "for field in range(3):\n"
    "    print(crop, field); print('late', field, file=sys.stderr); time.sleep(0.15)",
    "import warnings\nwarnings.warn('dry season')  # names a file of this process",
    "import uuid\nfrom IPython.display import HTML, display\n"
    'name = uuid.uuid4()\ndisplay(HTML(f\'<a id="{name}" href="#{name}">{uuid.uuid4()}</a>\'))',
    "print('before')\ndisplay('picture')\nprint('after')\nobject()",
    "import matplotlib.pyplot as plt\nplt.plot([0, 1]); plt.show()",
    "print({'maize', 'tobacco', 'cotton', 'sorghum'})  # a set of strings has another order in each process",
]


def notebook(folder: Path, cells: list[str], tag: str | None = "parameters") -> Path:
    "A notebook of a cell `crop = 'maize'`, tagged or not, and more cells."
    first = new_code_cell("crop = 'maize'", metadata={"tags": [tag]} if tag else {})
    nb = new_notebook(cells=[first, *map(new_code_cell, cells)])
    nb.metadata["kernelspec"] = {"display_name": "python3", "language": "python", "name": "python3"}
    for place, cell in enumerate(nb.cells):
        cell.id = f"cell-{place}"
    path = folder / "stage.ipynb"
    nbformat.write(nb, path)
    return path


def run(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    "Run stage.ipynb of a folder, in that folder, as a stage of dvc.yaml does."
    command = [sys.executable, "-m", "geocrop_papermill", "stage.ipynb", "reports/stage.ipynb", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env={**os.environ, **environment})


def test_two_runs_leave_the_same_bytes(tmp_path: Path):
    reports = []
    for name in ("here", "elsewhere"):
        folder, home = tmp_path / name, tmp_path / name / "home"
        start_up = home / ".ipython/profile_default/startup"
        start_up.mkdir(parents=True)
        (start_up / "habits.py").write_text(f"print('hello from {name}')")
        (home / ".config/matplotlib").mkdir(parents=True)
        (home / ".config/matplotlib/matplotlibrc").write_text(f"lines.linewidth: {len(name)}")
        notebook(folder, RESTLESS)
        habits = {"HOME": str(home), "PYTHONHASHSEED": str(len(name)), "TZ": f"XYZ{len(name)}"}
        ran = run(folder, "crop=tobacco", **habits, MPLBACKEND="Agg" if name == "here" else "")
        assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
        assert os.listdir(folder / "reports") == ["stage.ipynb"]
        reports.append((folder / "reports/stage.ipynb").read_bytes())
    assert reports[0] == reports[1]

    text = reports[0].decode()
    for noise in ("elsewhere", "hello", "ipykernel_", "0x7", "start_time", "duration", "iopub", str(tmp_path)):
        assert noise not in text
    given, injected, printed, _, html, order, figure, _ = json.loads(text)["cells"]
    assert "maize" in "".join(given["source"])
    assert 'crop = "tobacco"' in "".join(injected["source"])
    assert [(o["name"], "".join(o["text"])) for o in printed["outputs"]] == [
        ("stdout", "tobacco 0\ntobacco 1\ntobacco 2\n"), ("stderr", "late 0\nlate 1\nlate 2\n"),
    ]  # fmt: skip
    first, second = "00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"
    assert html["outputs"][0]["data"]["text/html"] == [f'<a id="{first}" href="#{first}">{second}</a>']
    assert "image/png" in figure["outputs"][0]["data"]
    assert [o["output_type"] for o in order["outputs"]] == ["stream", "display_data", "stream", "execute_result"]


def test_an_error_of_the_library_is_one_line_and_stands_in_the_report(tmp_path: Path):
    notebook(tmp_path, ["from geocrop.schema import AOI\nAOI(31.05, -117.83, 2000)", "print('never')"])
    ran = run(tmp_path)
    assert ran.returncode == 1
    lines = ran.stderr.splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("SchemaError: AOI latitude: found -117.83; expected degrees between -90 and 90.")
    assert os.listdir(tmp_path / "reports") == ["stage.ipynb"]
    cells = nbformat.read(tmp_path / "reports/stage.ipynb", 4).cells
    assert [o.ename for cell in cells if cell.cell_type == "code" for o in cell.outputs] == ["SchemaError"]


def test_any_other_error_shows_its_traceback(tmp_path: Path):
    notebook(tmp_path, ["crop / 10"])
    ran = run(tmp_path)
    assert ran.returncode == 1
    assert "crop / 10" in ran.stderr
    assert "TypeError: unsupported operand" in ran.stderr


def test_a_kernel_that_dies_leaves_no_report(tmp_path: Path):
    notebook(tmp_path, ["import os, sys\nsys.__stderr__.write('last words\\n'); sys.__stderr__.flush()\nos._exit(9)"])
    ran = run(tmp_path)
    assert ran.returncode == 1
    assert ran.stderr.startswith("last words\n")
    assert "kernel died" in ran.stderr
    assert not (tmp_path / "reports").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda n: n.name)
def test_a_signal_stops_kernel_and_run_and_leaves_nothing(tmp_path: Path, number: signal.Signals):
    notebook(tmp_path, ["import os, time\nwith open('kernel', 'w') as f: f.write(str(os.getpid()))\ntime.sleep(60)"])
    command = [sys.executable, "-m", "geocrop_papermill", "stage.ipynb", "reports/stage.ipynb"]
    running = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    kernel = tmp_path / "kernel"
    while not (kernel.exists() and kernel.read_text()) and running.poll() is None:
        time.sleep(0.05)
    running.send_signal(number)
    _, said = running.communicate(timeout=30)
    assert running.returncode == 130
    assert said.splitlines()[-1] == "stage.ipynb: stopped by a signal; no report was written."
    assert not (tmp_path / "reports").exists()
    assert not Path(f"/proc/{kernel.read_text()}/cmdline").exists()


@pytest.mark.parametrize(
    ("tag", "arguments", "told"),
    [
        (None, [], "found 0 cells tagged parameters"),  # what nbdev-clean does where tags are not allowed
        (None, ["crop=tobacco"], "found 0 cells tagged parameters"),
        ("parameters", ["corp=tobacco"], "found corp; expected crop"),
    ],
)
def test_a_notebook_that_would_silently_run_defaults_is_refused(tmp_path: Path, tag, arguments, told):
    notebook(tmp_path, ["open('ran', 'w')"], tag)
    report = tmp_path / "reports/stage.ipynb"
    report.parent.mkdir()
    report.write_text("of yesterday")
    ran = run(tmp_path, *arguments)
    assert ran.returncode == 2
    assert told in ran.stderr
    assert len(ran.stderr.splitlines()) == 1
    assert not (tmp_path / "ran").exists()
    assert report.read_text() == "of yesterday"
