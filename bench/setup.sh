#!/bin/sh
# bench/setup.sh       makes bench/.venv exactly as requirements.lock says: eo-learn and DE Africa's tools
#                      and sees that there is wrk, which loads the service
# bench/setup.sh lock  writes requirements.lock anew (network)
set -eu
cd "$(dirname "$0")"
UV=../.venv/bin/uv
[ -x "$UV" ] || { echo "uv: found no .venv/bin/uv; expected the project's environment. Run: make setup" >&2; exit 1; }

compile() {
  "$UV" pip compile "$@" --quiet --generate-hashes --no-emit-index-url --no-header --no-annotate --python-version 3.11
}

if [ "${1:-}" = lock ]; then
  { compile requirements.in --override overrides.txt && echo deafrica-tools | compile - --no-deps; } >requirements.lock.new
  mv requirements.lock.new requirements.lock
else
  command -v wrk >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends wrk; }
  "$UV" venv --quiet --allow-existing --python ../.venv/bin/python .venv
  "$UV" pip sync --quiet --require-hashes --python .venv/bin/python requirements.lock
  .venv/bin/python -W ignore -c 'import eolearn.features.extra.interpolation, deafrica_tools.temporal'
  echo 'bench/.venv is ready'
fi
