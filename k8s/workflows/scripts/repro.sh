#!/bin/sh
# repro.sh FOLDER: make what has changed, up to the gate; only if that lets the model pass, the rest. The gate stage asks,
# registers and promotes in the registry that GEOCROP_MLFLOW_TRACKING_URI names.
set -eu
cd "$1"
dvc repro gate || { echo 'repro.sh: the gate, or a stage before it, stopped the model; nothing is kept' >&2; exit 1; }
dvc repro
dvc metrics diff
