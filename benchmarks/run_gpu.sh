#!/bin/sh
# The tests and benchmarks that need a GPU. On an H100 with slow processor cores `tests` took 1 minute,
# `train` 7 for 25 epochs, and `epoch` more than 3.
# Each writes its result into FOLDER as it ends; one that fails does not stop the others.
#   CIFAR100=FILE.npz sh benchmarks/run_gpu.sh FOLDER [tests] [steps] [epoch] [train] [rest] [compile]
# All parts run if none is named. FILE.npz is CIFAR-100 in the format of PackedImages; without it,
# the recipe's own data set is used. EPOCHS sets the length of the trainings, SEEDS and METHODS what
# is trained; DEVICE=cpu with small BATCH, STEPS and IMAGES is for a rehearsal.
set -u
cd "$(dirname "$0")/.."
out=${1:?name a folder for the results}
shift
mkdir -p "$out"
parts=${*:-tests steps epoch train rest compile}
device=${DEVICE:-cuda} batch=${BATCH:-128} steps=${STEPS:-50} warmup=${WARMUP:-10} images=${IMAGES:-25000} epochs=${EPOCHS:-20}
recipes=configs/distill/mmcls/byot
fast=$recipes/byot_resnet18-fast_1xb128_cifar100.py
amp='optim_wrapper.type=mmrazor_byot.AmpOptimWrapper optim_wrapper.optimizer.fused=True'
failed=''

run() { # name, command
    name=$1
    shift
    start=$(date +%s)
    "$@" >"$out/$name.log" 2>&1 || failed="$failed $name"
    grep -v '^$' "$out/$name.log" | tail -n 14
    echo "$name: $(($(date +%s) - start)) s"
}
step() { # name, arguments
    name=train_step_$1
    shift
    run "$name" python benchmarks/train_step.py --device "$device" --steps "$steps" --warmup "$warmup" --out "$out" --name "$name" "$@"
}
epoch() { # name, arguments
    name=epoch_$1
    shift
    run "$name" python benchmarks/epoch.py --synthetic --epochs 2 --out "$out" --name "$name" "$@"
}
without_average() { # folder of a run with a moving average, file for the accuracies of its last weights
    python -c "import sys, torch
last = torch.load(sys.argv[1], weights_only=False)['ema_state_dict']
torch.save(dict(state_dict={k[7:]: v for k, v in last.items() if k.startswith('module.')}), sys.argv[2])" \
        "$1/epoch_$epochs.pth" "$1/last.pth" && python tools/test.py "$1/config.py" "$1/last.pth" --out "$2" --out-item metrics
}

for part in $parts; do
    case $part in
    tests)
        run tests python -m pytest -q -p no:cacheprovider tests/test_gpu.py
        ;;
    steps)
        step bf16 --batch "$batch" --amp bf16 --layout channels_last --fused
        step fp32_b16 --batch $((batch / 8)) --methods plain deep-supervision byot mmrazor
        ;;
    epoch)
        # shellcheck disable=SC2086
        epoch bf16 $recipes/plain_resnet18-fast_1xb128_tin32.py $recipes/byot_resnet18-fast_1xb128_tin32.py $fast \
            --batch "$batch" --images "$images" --cfg-options $amp
        ;;
    train)
        # shellcheck disable=SC2086
        run accuracy python benchmarks/accuracy.py --scale cifar100-60e --jobs 4 --seeds ${SEEDS:-0} \
            --methods ${METHODS:-plain deep-supervision byot byot-strided-ema} --out "$out" --work-dir "$out/work_dirs" \
            --cfg-options $amp train_cfg.max_epochs="$epochs" param_scheduler.total_steps="$epochs" ${OPTIONS:-}
        for seed in ${SEEDS:-0}; do
            folder=$out/work_dirs/accuracy_cifar100-60e/byot-strided-ema-$seed
            [ ! -f "$folder/epoch_$epochs.pth" ] || run "byot-strided-$seed" without_average "$folder" "$out/byot-strided-$seed.json"
        done
        ;;
    rest)
        run data_path python benchmarks/data_path.py --device "$device" --rounds 5 --batch "$batch" --out "$out" --name data_path
        step fp32_b64 --batch $((batch / 2)) --methods plain byot mmrazor
        epoch mmrazor $fast --methods mmrazor --batch $((batch / 8)) --images $((images / 16))
        ;;
    compile)
        step bf16_compile --batch "$batch" --amp bf16 --layout channels_last --fused --compile
        ;;
    *) echo "no part $part" >&2 && exit 1 ;;
    esac
done
[ -z "$failed" ] || echo "failed:$failed"
[ -z "$failed" ]
