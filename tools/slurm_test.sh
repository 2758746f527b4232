#!/bin/sh
# Test under Slurm; see slurm_run.sh for the variables it takes.
# usage: sh tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [test.py's ARGUMENTS ...]
set -eu

if [ $# -lt 4 ]; then
    echo "usage: sh $0 PARTITION JOB_NAME CONFIG CHECKPOINT [test.py's ARGUMENTS ...]" >&2
    exit 2
fi
partition=$1
job=$2
config=$3
checkpoint=$4
shift 4
exec sh "$(dirname "$0")/slurm_run.sh" "$partition" "$job" test.py \
    "$config" "$checkpoint" "$@"
