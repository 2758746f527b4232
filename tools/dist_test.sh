#!/bin/sh
# Test on several processes, one for each GPU; without a GPU, on the CPU.
# usage: sh tools/dist_test.sh CONFIG CHECKPOINT PROCESSES [test.py's ARGUMENTS ...]
# Several machines: set NNODES, NODE_RANK, MASTER_ADDR and PORT on each.
set -eu

if [ $# -lt 3 ]; then
    echo "usage: sh $0 CONFIG CHECKPOINT PROCESSES [test.py's ARGUMENTS ...]" >&2
    exit 2
fi
config=$1
checkpoint=$2
processes=$3
shift 3
exec python3 "$(dirname "$0")/dist_run.py" test.py "$processes" "$config" "$checkpoint" "$@"
