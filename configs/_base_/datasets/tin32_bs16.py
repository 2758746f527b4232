# Tiny ImageNet at 32 x 32 as one packed file, with the augmentation of
# cifar100_bs16.py.
# Path of the file: TIN32=/path/to/file.npz sh tools/dist_train.sh ...
_base_ = 'mmrazor::_base_/datasets/mmcls/pipelines/auto_aug_cifar.py'

data_preprocessor = dict(
    num_classes=100,
    mean=[123.058, 115.011, 101.717],
    std=[63.764, 61.697, 65.397],
    to_rgb=False)  # the images are RGB already

# MMEngine gives MMRazor's scope to what is inherited from it.
policies = [[dict(step, _scope_='mmpretrain') for step in policy]
            for policy in _base_.policy_cifar]

train_pipeline = [
    dict(type='RandomCrop', crop_size=32, padding=4),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='AutoAugment', policies=policies),
    dict(type='Cutout', shape=16, pad_val=0, prob=1.0),
    dict(type='PackInputs'),
]
test_pipeline = [dict(type='PackInputs')]

train_dataloader = dict(
    batch_size=16,
    num_workers=2,
    persistent_workers=False,  # seed workers in each epoch
    worker_init_fn=dict(type='mmrazor_byot.seed_worker'),
    dataset=dict(
        type='mmrazor_byot.PackedImages',
        ann_file='{{$TIN32:data/tin32.npz}}',
        split='train',
        pipeline=train_pipeline),
    sampler=dict(type='DefaultSampler', shuffle=True))

val_dataloader = dict(
    batch_size=128,
    num_workers=2,
    persistent_workers=True,
    dataset=dict(
        type='mmrazor_byot.PackedImages',
        ann_file='{{$TIN32:data/tin32.npz}}',
        split='test',
        pipeline=test_pipeline),
    sampler=dict(type='DefaultSampler', shuffle=False))
val_evaluator = dict(type='mmrazor_byot.ExitAccuracy', topk=(1, 5))

test_dataloader = val_dataloader
test_evaluator = val_evaluator

# Every tenth training image, to calibrate exit policies. Hold them out of
# training with --cfg-options train_dataloader.dataset.hold_out_every=10
calibration_dataloader = dict(
    batch_size=128,
    num_workers=2,
    dataset=dict(
        type='mmrazor_byot.PackedImages',
        ann_file='{{$TIN32:data/tin32.npz}}',
        split='train',
        hold_out_every=10,
        held_out=True,
        pipeline=test_pipeline),
    sampler=dict(type='DefaultSampler', shuffle=False))

del policies  # or it would be a key of the config
