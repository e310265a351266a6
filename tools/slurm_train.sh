#!/usr/bin/env bash
# Train through slurm:
#   tools/slurm_train.sh [--requeue] PARTITION JOB_NAME CONFIG [options of tools/train.py]
# --requeue submits it, and it goes on after time limits and pre-emption until
# it is done: a script for sbatch in the work dir.
# Environment: GPUS, GPUS_PER_NODE, CPUS_PER_TASK, TIME_LIMIT, ACCOUNT,
# SRUN_ARGS (docs/clusters.md). To stop and save: scancel --signal=TERM JOB
set -euo pipefail
REQUEUE=
[ "${1:-}" != --requeue ] || { REQUEUE=yes; shift; }
[ $# -ge 3 ] || { sed -n 2,7p "$0" | cut -c3-; exit 2; }
PARTITION=$1 JOB_NAME=$2
shift 2
# shellcheck source=tools/slurm_options.sh
. "$(dirname "$0")/slurm_options.sh"

if [ "$REQUEUE" ]; then
    exec "${PYTHON:-python}" "$ROOT/tools/slurm_submit.py" "$PARTITION" \
        "$JOB_NAME" "$@"
fi
exec srun "${options[@]}" \
    "${PYTHON:-python}" -u "$ROOT/tools/train.py" "$@" --launcher slurm
