#!/bin/sh
# What benchmarks/README.md wants of a GPU; results, logs and checkpoints go to
# a folder. TIN32=/path/to/file.npz gives the images, random ones serve without.
#   sh benchmarks/run_gpu.sh FOLDER
set -eu
cd "$(dirname "$0")/.."
out=${1:?name a folder for the results}
recipes=configs/distill/mmcls/byot
fast=$recipes/byot_resnet18-fast_1xb128_tin32.py
amp='optim_wrapper.type=mmrazor_byot.AmpOptimWrapper optim_wrapper.optimizer.fused=True'

step() { python benchmarks/train_step.py --device cuda --steps 50 --warmup 10 --out "$out" "$@"; }
python -m pytest -q tests/test_gpu.py
step --batch 128 --name train_step_cuda_fp32
step --batch 128 --amp bf16 --layout channels_last --fused --name train_step_cuda_bf16
step --batch 128 --amp bf16 --layout channels_last --fused --compile --name train_step_cuda_bf16_compile
step --batch 16 --methods plain byot mmrazor --name train_step_cuda_b16
python benchmarks/data_path.py --device cuda --out "$out"
python benchmarks/scaling.py --device cuda --processes 1 --steps 20 --out "$out"
# shellcheck disable=SC2086
python benchmarks/epoch.py $fast $recipes/plain_resnet18-fast_1xb128_tin32.py \
    --methods mmrazor --batch 128 --epochs 2 --cfg-options $amp --name epoch_cuda --out "$out"
# shellcheck disable=SC2086
python benchmarks/epoch.py $fast --batch 128 --cfg-options $amp compile=True --name epoch_cuda_compile --out "$out"
[ -n "${TIN32:-}" ] || exit 0
# Accuracies over seeds; stopped, it goes on where it was.
# shellcheck disable=SC2086
python benchmarks/accuracy.py --scale full-60e --jobs 4 --out "$out" --work-dir "$out/accuracy" --cfg-options $amp compile=True
# The whole recipe of 250 epochs; the log has the time.
# shellcheck disable=SC2086
python tools/train.py $fast --work-dir "$out/byot_250e" --cfg-options $amp train_cfg.val_interval=50
