#!/bin/sh
# Start a tool on several processes; dist_train.sh and dist_test.sh call it.
# usage: dist_run.sh TOOL PROCESSES [ARGUMENT ...]
set -eu

tool=$1
processes=$2
shift 2

case $processes in
    '' | *[!0-9]* | 0 | 0[0-9]*)
        echo "error: \"$processes\" processes: give a number from 1 on, one for each GPU" >&2
        exit 2
        ;;
esac

here=$(cd "$(dirname "$0")" && pwd)
PYTHONPATH="$(dirname "$here")${PYTHONPATH:+:$PYTHONPATH}"
export PYTHONPATH

# Share the cores: MMEngine's and torchrun's default is one thread a process.
threads=$(($(getconf _NPROCESSORS_ONLN) / processes))
[ "$threads" -ge 1 ] || threads=1
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-$threads}"
export MKL_NUM_THREADS="${MKL_NUM_THREADS:-$OMP_NUM_THREADS}"

# Two runs on one machine need two ports: PORT=29501 sh tools/dist_train.sh ...
exec torchrun \
    --nnodes="${NNODES:-1}" \
    --node-rank="${NODE_RANK:-0}" \
    --master-addr="${MASTER_ADDR:-127.0.0.1}" \
    --master-port="${PORT:-29500}" \
    --nproc-per-node="$processes" \
    "$here/$tool" --launcher pytorch "$@"
