#!/bin/sh
# The steps by which serving/images/Dockerfile makes an image; exercise.py takes the same on any machine.
#   install.sh packages NAME PREFIX   an environment of exactly what serving/images/NAME.lock says
#   install.sh geocrop PREFIX         this project into it, as a wheel
# UV names uv, PYTHON the Python that the environment is made for.
set -eu
cd "$(dirname "$0")/../.."
: "${UV:=uv}" "${PYTHON:=python3.11}"

packages() { # compiled now: where a root is read-only, each start would compile some hundred modules again
  "$UV" venv --quiet --no-python-downloads --python "$PYTHON" "$2"
  "$UV" pip sync --quiet --python "$2/bin/python" --require-hashes --no-build --compile-bytecode "serving/images/$1.lock"
}

geocrop() { # built of a copy: a build leaves files beside its sources, and takes in what an older one has left
  copy=$(mktemp -d)
  trap 'rm -rf "$copy"' EXIT
  tar -c --exclude=node_modules --exclude=__pycache__ \
    pyproject.toml README.md LICENSE geocrop geocrop_papermill.py serving | tar -x -C "$copy"
  "$UV" build --quiet --wheel --python "$1/bin/python" --require-hashes \
    --build-constraints serving/images/build.lock --out-dir "$copy/wheel" "$copy"
  "$UV" pip install --quiet --python "$1/bin/python" --no-deps --compile-bytecode "$copy"/wheel/*.whl
}

"$@"
