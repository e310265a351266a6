# Read by slurm_train.sh and slurm_test.sh: sets options, those of srun, for
# PARTITION and JOB_NAME and the environment, and stops what could never start.
GPUS=${GPUS:-8}
GPUS_PER_NODE=${GPUS_PER_NODE:-$((GPUS < 8 ? GPUS : 8))}
options=(--partition="$PARTITION" --job-name="$JOB_NAME"
    --cpus-per-task="${CPUS_PER_TASK:-5}" --kill-on-bad-exit=1)
if [ "$GPUS" -eq 0 ]; then
    options+=(--ntasks=1 --gres=none)
else
    options+=(--ntasks="$GPUS" --ntasks-per-node="$GPUS_PER_NODE"
        --gres="gpu:$GPUS_PER_NODE")
fi
[ -z "${TIME_LIMIT:-}" ] || options+=(--time="$TIME_LIMIT")
[ -z "${ACCOUNT:-}" ] || options+=(--account="$ACCOUNT")
# shellcheck disable=SC2206  # SRUN_ARGS holds several words
options+=(${SRUN_ARGS:-})

# Slurm lets a job that fits no node wait for ever. One that nodes which are
# out of service might fit may wait for these.
if ! told=$(srun "${options[@]}" --test-only true 2>&1); then
    printf '%s\n' "$told" >&2
    if ! sinfo > /dev/null 2>&1; then
        echo 'error: no slurm answers here (sinfo fails, too): call this on' \
            'a login node, or tools/dist_train.sh, which needs no slurm' >&2
        exit 1
    fi
    if [ -z "$(sinfo --noheader --partition="$PARTITION" --format=%D \
            --states=down,drain,fail,maint 2> /dev/null)" ]; then
        echo "error: slurm refuses ${options[*]}; set GPUS (0: none)," \
            'GPUS_PER_NODE, CPUS_PER_TASK or SRUN_ARGS to what' \
            "'sinfo --Node --format=\"%N %P %c %G\"' lists" >&2
        exit 1
    fi
    echo 'some nodes of the partition are out of service: waiting' >&2
fi

ROOT=$(cd "$(dirname "$0")/.." && pwd)
export PYTHONPATH="$ROOT${PYTHONPATH:+:$PYTHONPATH}"
