# scikit-learn's handwritten digits, enlarged to 32 x 32: no download.
data_preprocessor = dict(
    num_classes=10,
    mean=[77.8, 77.8, 77.8],
    std=[82.5, 82.5, 82.5],
    to_rgb=False)  # they are gray

train_dataloader = dict(
    batch_size=64,
    num_workers=0,  # images are in memory and cheap to load
    persistent_workers=False,
    dataset=dict(
        type='mmrazor_byot.Digits',
        split='train',
        hold_out_every=5,  # for exit policies, see calibration_dataloader
        pipeline=[
            dict(type='RandomCrop', crop_size=32, padding=2),
            dict(type='PackInputs'),
        ]),
    sampler=dict(type='DefaultSampler', shuffle=True))

val_dataloader = dict(
    batch_size=64,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        type='mmrazor_byot.Digits',
        split='test',
        pipeline=[dict(type='PackInputs')]),
    sampler=dict(type='DefaultSampler', shuffle=False))
val_evaluator = dict(type='mmrazor_byot.ExitAccuracy', topk=(1, 5))

test_dataloader = val_dataloader
test_evaluator = val_evaluator

# Every fifth training image, held out of training.
calibration_dataloader = dict(
    batch_size=64,
    num_workers=0,
    dataset=dict(
        type='mmrazor_byot.Digits',
        split='train',
        hold_out_every=5,
        held_out=True,
        pipeline=[dict(type='PackInputs')]),
    sampler=dict(type='DefaultSampler', shuffle=False))
