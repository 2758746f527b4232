#!/bin/sh
# Start a tool under Slurm; slurm_train.sh and slurm_test.sh call it.
# usage: slurm_run.sh PARTITION JOB_NAME TOOL [ARGUMENT ...]
# GPUS (8), GPUS_PER_NODE (8) and CPUS_PER_TASK (5) say how much to ask for,
# SRUN_ARGS holds further words for srun.
set -eu

partition=$1
job=$2
tool=$3
shift 3

gpus=${GPUS:-8}
gpus_per_node=${GPUS_PER_NODE:-8}
if [ "$gpus" -lt "$gpus_per_node" ]; then
    gpus_per_node=$gpus
fi
here=$(cd "$(dirname "$0")" && pwd)
PYTHONPATH="$(dirname "$here")${PYTHONPATH:+:$PYTHONPATH}"
export PYTHONPATH

# SRUN_ARGS is meant to be split into words.
# shellcheck disable=SC2086
exec srun -p "$partition" \
    --job-name="$job" \
    --gres="gpu:$gpus_per_node" \
    --ntasks="$gpus" \
    --ntasks-per-node="$gpus_per_node" \
    --cpus-per-task="${CPUS_PER_TASK:-5}" \
    --kill-on-bad-exit=1 \
    ${SRUN_ARGS:-} \
    python -u "$here/$tool" --launcher slurm "$@"
