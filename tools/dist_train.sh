#!/bin/sh
# Train on several processes, one for each GPU; without a GPU, on the CPU.
# usage: sh tools/dist_train.sh CONFIG PROCESSES [train.py's ARGUMENTS ...]
# Several machines: set NNODES, NODE_RANK, MASTER_ADDR and PORT on each.
# Two runs on one machine need two ports: PORT=29501 sh tools/dist_train.sh ...
set -eu

if [ $# -lt 2 ]; then
    echo "usage: sh $0 CONFIG PROCESSES [train.py's ARGUMENTS ...]" >&2
    exit 2
fi
config=$1
processes=$2
shift 2
exec python3 "$(dirname "$0")/dist_run.py" train.py "$processes" "$config" "$@"
