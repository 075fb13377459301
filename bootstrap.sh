#!/bin/sh
# Makes .venv exactly as bootstrap.lock (uv) and requirements.lock (all else) say. Called by `make setup`.
set -eu
cd "$(dirname "$0")"

is_311() { command -v "$1" >/dev/null 2>&1 && "$1" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; }
fail() { echo "$*" >&2; exit 1; }

# The lock holds for Python 3.11: an environment of another version, or one whose Python is gone, is made anew.
is_311 .venv/bin/python || rm -rf .venv
if ! [ -x .venv/bin/uv ]; then
  for python in ${PYTHON:-} python3.11 python3 python; do is_311 "$python" && break; python=; done
  [ -n "$python" ] || fail "Python: found $(python3 --version 2>/dev/null || echo none); expected 3.11." \
    "Install python3.11 with its venv module, or name it: make setup PYTHON=/path/to/python3.11"
  "$python" -c 'import ensurepip, venv' 2>/dev/null || fail "Python: found $python without venv or ensurepip;" \
    "expected both. On Debian and Ubuntu: apt-get install python3.11-venv"
  "$python" -m venv .venv
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r bootstrap.lock
fi

echo "Installing what requirements.lock names into .venv (a minute with a fast network) ..."
# sync takes away what no lock names, so uv keeps itself through its own lock; a plain install would resolve again
# compiled now: where Python may not write bytecode, each command would compile some hundred modules again, for a second
.venv/bin/uv pip sync --quiet --compile-bytecode --require-hashes requirements.lock bootstrap.lock
.venv/bin/uv pip install --quiet --no-deps --no-build-isolation --editable .

# LightGBM's wheel takes the OpenMP runtime from the system; say so here rather than in the middle of a training
.venv/bin/python -c 'import lightgbm' 2>/dev/null || fail "LightGBM: found no libgomp.so.1; expected the OpenMP" \
  "runtime of GCC. On Debian and Ubuntu: apt-get install libgomp1"
# Once per machine; left to a stage, Matplotlib's warning of a slow font cache would end up in its report.
.venv/bin/python -c 'import matplotlib.font_manager' 2>/dev/null
