"Prints the table; exit 1 where there is a problem, or where something was skipped."

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

from .table import Row, shown

ROOT = Path(__file__).resolve().parents[2]
MODULES = ("rendered", "policies", "scanned", "terraform", "argo", "monitoring", "pipelines", "images")


def rows(root: Path, modules: tuple[str, ...] = MODULES) -> Iterator[Row]:
    "The rows of all modules. One that breaks is a problem of its own, and the others still speak."
    for name in modules:
        try:
            yield from importlib.import_module(f".{name}", __package__).rows(root)
        except Exception as error:  # a check that died has checked nothing
            yield Row(f"check.{name}", 1, "it runs", [f"{type(error).__name__}: {error}"], [])


def main(words: list[str]) -> int:
    found = list(rows(ROOT, tuple(words) or MODULES))
    print(shown(found))
    return 0 if found and all(row.good for row in found) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
