# The images of tin32-small_bs64.py as batched data: the data set is in memory,
# on the GPU if there is one, and batches are augmented there.
# Path of the file: TIN32=/path/to/file.npz sh tools/dist_train.sh ...
data_preprocessor = dict(
    type='mmrazor_byot.BatchDataPreprocessor',
    num_classes=20,
    mean=[123.058, 115.011, 101.717],
    std=[63.764, 61.697, 65.397],
    to_rgb=False,  # the images are RGB already
    transforms=[
        dict(type='mmrazor_byot.BatchRandomCrop', crop_size=32, padding=4),
        dict(
            type='mmrazor_byot.BatchRandomFlip',
            prob=0.5,
            direction='horizontal'),
    ])

loader = dict(
    num_workers=0,  # a batch is one indexing operation
    pin_memory=False,
    persistent_workers=False,
    collate_fn=dict(type='mmrazor_byot.collate_batch'))
batches = dict(type='mmrazor_byot.ImageBatches', device='auto')
tin32 = dict(
    type='mmrazor_byot.PackedImages',
    ann_file='{{$TIN32:data/tin32.npz}}',
    num_classes=20)

train_dataloader = dict(
    batch_size=64,
    dataset=dict(
        dataset=dict(split='train', samples_per_class=150, **tin32),
        **batches),
    sampler=dict(type='DefaultSampler', shuffle=True),
    **loader)

val_dataloader = dict(
    batch_size=500,
    dataset=dict(dataset=dict(split='test', **tin32), **batches),
    sampler=dict(type='DefaultSampler', shuffle=False),
    **loader)
val_evaluator = dict(
    type='mmrazor_byot.BatchEvaluator',
    metrics=dict(type='mmrazor_byot.ExitAccuracy', topk=(1, 5)))

test_dataloader = val_dataloader
test_evaluator = val_evaluator

calibration_dataloader = dict(
    batch_size=500,
    dataset=dict(
        dataset=dict(split='train', hold_out_every=10, held_out=True, **tin32),
        **batches),
    sampler=dict(type='DefaultSampler', shuffle=False),
    **loader)

del loader, batches, tin32  # or they would be keys of the config
