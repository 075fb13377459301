"""Runs a notebook so that the executed copy has the same bytes every time.

    python -m geocrop_papermill nbs/pipelines/02_features.ipynb reports/02_features.ipynb [name=value ...]

Plain papermill writes times, durations, random cell names, its own version and the paths of the machine into the
notebook that it leaves behind, and cuts printed text wherever a timer fired. DVC then sees another file after each
run. `DeterministicEngine` (entry point `papermill.engine`, name `geocrop`) keeps sources, outputs and nothing else.
Names and values given behind the paths replace those of the cell tagged `parameters`.
"""

import argparse
import ast
import contextlib
import hashlib
import logging
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbformat import NotebookNode
from traitlets.config import Config

from geocrop import schema
from geocrop.store import publish

# What differs between two runs of the same cell, by kind. Anything else that differs is the notebook's own doing.
KERNEL_FILE = re.compile(r"[^\s\"']*ipykernel_\d+[/\\](\d+)\.py")  # a cell's source file, named after the process
ADDRESS = re.compile(r"\bat 0x[0-9a-fA-F]+")  # default repr of an object
UUID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\b")  # HTML of xarray

# The kernel meets the same surroundings on every machine and in every run.
SURROUNDINGS = {
    "PYTHONHASHSEED": "0",  # order of sets of strings
    "OPENBLAS_NUM_THREADS": "1",  # the rounding of a sum depends on the number of threads
    "TQDM_DISABLE": "1",  # progress bars print times
    "TZ": "UTC",
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",  # figures go into the report, wherever it is made
    "MATPLOTLIBRC": os.devnull,  # and look like matplotlib's own
}


class DeterministicEngine:
    "papermill engine whose executed notebook depends on the notebook, its parameters and its data only."

    # papermill imports this module while it is itself being imported, so that its parts are fetched when called.
    @staticmethod
    def nb_kernel_name(nb: NotebookNode, name: str | None = None) -> str:
        "Name of the kernel that the notebook asks for."
        from papermill.utils import nb_kernel_name

        return nb_kernel_name(nb, name)

    @staticmethod
    def nb_language(nb: NotebookNode, language: str | None = None) -> str:
        "Language of the notebook, in which papermill writes parameters."
        from papermill.utils import nb_language

        return nb_language(nb, language)

    @staticmethod
    def execute_notebook(nb: NotebookNode, kernel_name: str, **options: Any) -> NotebookNode:
        "Execute `nb` in place; an error of a cell stays in its output, from where papermill raises it."
        _check_parameters(nb)
        # An own folder: no start-up files and no history of the user; sockets that no other user can listen to.
        with (
            tempfile.TemporaryDirectory(prefix="geocrop-kernel-") as away,
            (Path(away) / "stderr").open("w+b") as aside,
        ):
            sockets = {"transport": "ipc", "connection_file": str(Path(away) / "kernel.json")}
            client = NotebookClient(
                nb,
                kernel_name=kernel_name,
                timeout=options.get("execution_timeout"),
                startup_timeout=options.get("start_timeout", 60),
                record_timing=False,
                config=Config({"KernelManager": sockets}),
            )
            try:
                with contextlib.suppress(CellExecutionError):
                    # What cells print comes back by messages. Beside it the kernel's own threads complain of sockets
                    # that close under them when it ends: nobody's business, unless it died.
                    client.execute(env={**os.environ, **SURROUNDINGS, "IPYTHONDIR": away}, stderr=aside)
            except DeadKernelError:
                aside.seek(0)
                sys.stderr.write(aside.read().decode(errors="replace"))
                raise
            except AssertionError:
                if client.km is None:  # on Ctrl-C and SIGTERM nbclient stops its kernel, then misses it
                    raise KeyboardInterrupt from None
                raise
        return still(nb)


def _check_parameters(nb: NotebookNode) -> None:
    "Refuse a notebook that would silently run with other values than those given."
    tagged = [cell for cell in nb.cells if "parameters" in cell.metadata.get("tags", [])]
    if len(tagged) != 1:
        raise schema.SettingsError(
            "Notebook",
            found=f"{len(tagged)} cells tagged parameters",
            expected="exactly one",
            remedy="Tag the cell of the paths in JupyterLab's property inspector; without it defaults would run.",
        )
    targets = [
        target
        for statement in ast.parse(tagged[0].source).body
        for target in (statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)])
    ]
    names = {target.id for target in targets if isinstance(target, ast.Name)}
    unknown = sorted(set(nb.metadata.get("papermill", {}).get("parameters", {})) - names)
    if unknown:
        raise schema.SettingsError(
            "Parameters of the notebook",
            found=", ".join(unknown),
            expected=", ".join(sorted(names)) or "none",
            remedy="Give only names which the cell tagged parameters assigns.",
        )


def still(
    nb: NotebookNode,  # An executed notebook; changed in place
) -> NotebookNode:  # The same notebook
    "Take away what differs between two runs: times, random names, addresses, versions, cuts in printed text."
    calm = _renaming()
    nb.metadata.pop("papermill", None)
    nb.metadata.get("language_info", {}).pop("version", None)
    for place, cell in enumerate(nb.cells):
        cell.id = hashlib.sha256(f"{place}\n{cell.source}".encode()).hexdigest()[:8]
        cell.metadata.pop("papermill", None)
        if not cell.metadata.get("tags"):
            cell.metadata.pop("tags", None)
        if cell.cell_type == "code":
            cell.outputs = [_calm(output, calm) for output in _merged(cell.outputs)]
    return nb


def _merged(outputs: Iterable[NotebookNode]) -> list[NotebookNode]:
    "Between two pictures or values, one text of stdout and then one of stderr: a timer had cut and mixed them."
    merged: list[NotebookNode] = []
    streams: dict[str, NotebookNode] = {}
    for output in outputs:
        if output.output_type != "stream":
            merged += [streams[name] for name in sorted(streams, reverse=True)] + [output]
            streams = {}
        elif output.name in streams:
            streams[output.name].text += output.text
        else:
            streams[output.name] = output
    return merged + [streams[name] for name in sorted(streams, reverse=True)]


def _renaming() -> Callable[[str], str]:
    "A function that replaces each random name by one that counts from 1 in order of first use in the notebook."
    seen: dict[str, str] = {}

    def calm(text: str) -> str:
        text = KERNEL_FILE.sub(r"cell-\1.py", text)
        text = ADDRESS.sub("at 0x0", text)
        return UUID.sub(lambda m: seen.setdefault(m[0], f"00000000-0000-4000-8000-{len(seen) + 1:012d}"), text)

    return calm


def _calm(output: NotebookNode, calm: Callable[[str], str]) -> NotebookNode:
    "Apply `calm` to every text of an output; pictures (base64) stay as they are."
    if output.output_type == "stream":
        output.text = calm(output.text)
    elif output.output_type == "error":
        output.evalue, output.traceback = calm(output.evalue), [calm(line) for line in output.traceback]
    else:
        for kind, value in output.data.items():
            if kind.startswith("text/") and isinstance(value, str):
                output.data[kind] = calm(value)
    return output


def run(
    notebook: Path,  # The notebook to run; it is only read
    report: Path,  # Where the executed copy goes; it appears whole or not at all
    parameters: dict[str, str] | None = None,  # Names of the cell tagged parameters, and their values
    cwd: Path | None = None,  # Folder in which the kernel works; the caller's when None
) -> None:
    "Run a notebook; on failure the copy shows the error, and `PapermillExecutionError` is raised."
    import papermill

    with tempfile.TemporaryDirectory(prefix="geocrop-report-") as away:
        written = Path(away) / "report.ipynb"
        try:
            papermill.execute_notebook(
                notebook, written, parameters or {}, engine_name="geocrop", cwd=cwd, progress_bar=False
            )
        finally:
            if written.exists():
                nb = still(nbformat.read(written, 4))  # once more: papermill marks a failure by cells of random names
                with publish(report) as draft:
                    draft.write_text(nbformat.writes(nb).rstrip("\n") + "\n", encoding="utf-8")


def _explain(error: Any, report: Path) -> str:
    "What a terminal shows of a failed notebook: the library's line, or the traceback where it was no error of ours."
    ours = getattr(schema, error.ename, None)
    where = f"Cell {error.exec_count} stopped; {report} shows where."
    if isinstance(ours, type) and issubclass(ours, schema.GeocropError):
        return f"{where}\n{error.ename}: {error.evalue}"
    plain = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(error.traceback))
    return f"{plain}\n{where}"


def main(argv: list[str] | None = None) -> int:
    "Command line; 0 when the notebook ran, 1 when it failed, 2 when it was refused."
    parser = argparse.ArgumentParser(prog="geocrop_papermill", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("notebook", type=Path)
    parser.add_argument("report", type=Path, help="where the executed notebook goes")
    parser.add_argument("parameters", nargs="*", metavar="name=value", help="values of the cell tagged parameters")
    parser.add_argument("--cwd", type=Path, help="folder in which the kernel works (default: this one)")
    args = parser.parse_args(argv)
    wrong = [pair for pair in args.parameters if "=" not in pair]
    if wrong:
        parser.error(f"found {', '.join(wrong)}; expected name=value")
    logging.getLogger("papermill").setLevel(logging.ERROR)  # its warnings are errors here
    from papermill.exceptions import PapermillExecutionError

    try:
        run(args.notebook, args.report, dict(pair.split("=", 1) for pair in args.parameters), args.cwd)
    except PapermillExecutionError as error:
        print(_explain(error, args.report), file=sys.stderr)
        return 1
    except schema.GeocropError as error:
        print(f"{args.notebook}: {error}", file=sys.stderr)
        return 2
    except FileNotFoundError as error:
        print(f"{error.filename}: found no such file; expected a notebook to run.", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{args.notebook}: stopped by a signal; no report was written.", file=sys.stderr)
        return 130
    except DeadKernelError:
        print(f"{args.notebook}: the kernel died; short of memory? (dmesg tells)", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
