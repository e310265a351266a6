#!/usr/bin/env bash
# Train on several GPUs of one or more machines:
#   tools/dist_train.sh CONFIG GPUS [options of tools/train.py]
# Environment: NNODES, NODE_RANK, MASTER_ADDR, PORT (docs/clusters.md)
# Exit status 85: stopped by a signal and saved; go on with --resume.
set -euo pipefail
[ $# -ge 2 ] || { sed -n 2,5p "$0" | cut -c3-; exit 2; }
CONFIG=$1 GPUS=$2
shift 2

ROOT=$(cd "$(dirname "$0")/.." && pwd)
export PYTHONPATH="$ROOT${PYTHONPATH:+:$PYTHONPATH}"
exec "${PYTHON:-python}" "$ROOT/tools/torchrun.py" --nproc_per_node="$GPUS" \
    "$ROOT/tools/train.py" "$CONFIG" --launcher pytorch "$@"
