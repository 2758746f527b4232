# The first 20 classes of tin32_bs16.py with 150 training images per class: few
# enough for a narrow network to overfit, as ResNet-18 does on CIFAR-100.
# Path of the file: TIN32=/path/to/file.npz sh tools/dist_train.sh ...
data_preprocessor = dict(
    num_classes=20,
    mean=[123.058, 115.011, 101.717],
    std=[63.764, 61.697, 65.397],
    to_rgb=False)  # the images are RGB already

train_pipeline = [
    dict(type='RandomCrop', crop_size=32, padding=4),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs'),
]
test_pipeline = [dict(type='PackInputs')]
tin32 = dict(
    type='mmrazor_byot.PackedImages',
    ann_file='{{$TIN32:data/tin32.npz}}',
    num_classes=20)

train_dataloader = dict(
    batch_size=64,
    num_workers=0,  # images are cheap to load
    persistent_workers=False,
    worker_init_fn=dict(type='mmrazor_byot.seed_worker'),
    dataset=dict(
        split='train',
        samples_per_class=150,
        pipeline=train_pipeline,
        **tin32),
    sampler=dict(type='DefaultSampler', shuffle=True))

val_dataloader = dict(
    batch_size=128,
    num_workers=2,
    persistent_workers=True,
    dataset=dict(split='test', pipeline=test_pipeline, **tin32),
    sampler=dict(type='DefaultSampler', shuffle=False))
val_evaluator = dict(type='mmrazor_byot.ExitAccuracy', topk=(1, 5))

test_dataloader = val_dataloader
test_evaluator = val_evaluator

# Every tenth training image, to calibrate exit policies.
calibration_dataloader = dict(
    batch_size=128,
    num_workers=2,
    dataset=dict(
        split='train',
        hold_out_every=10,
        held_out=True,
        pipeline=test_pipeline,
        **tin32),
    sampler=dict(type='DefaultSampler', shuffle=False))

del tin32  # or it would be a key of the config
