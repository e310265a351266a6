#!/usr/bin/env bash
# Test through slurm:
#   tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [options of tools/test.py]
# Environment: GPUS, GPUS_PER_NODE, CPUS_PER_TASK, TIME_LIMIT, ACCOUNT,
# SRUN_ARGS (docs/clusters.md)
set -euo pipefail
[ $# -ge 4 ] || { sed -n 2,5p "$0" | cut -c3-; exit 2; }
PARTITION=$1 JOB_NAME=$2
shift 2
# shellcheck source=tools/slurm_options.sh
. "$(dirname "$0")/slurm_options.sh"

exec srun "${options[@]}" \
    "${PYTHON:-python}" -u "$ROOT/tools/test.py" "$@" --launcher slurm
