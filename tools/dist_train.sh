#!/bin/sh
# Train on several processes, one for each GPU; without a GPU, on the CPU.
# usage: sh tools/dist_train.sh CONFIG PROCESSES [train.py's ARGUMENTS ...]
# Several machines: set NNODES, NODE_RANK, MASTER_ADDR and PORT on each.
set -eu

if [ $# -lt 2 ]; then
    echo "usage: sh $0 CONFIG PROCESSES [train.py's ARGUMENTS ...]" >&2
    exit 2
fi
config=$1
processes=$2
shift 2
exec sh "$(dirname "$0")/dist_run.sh" train.py "$processes" "$config" "$@"
