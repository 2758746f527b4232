# scikit-learn's handwritten digits as batched data: the data set is in
# memory, on the GPU if there is one, and batches are augmented there.
data_preprocessor = dict(
    type='mmrazor_byot.BatchDataPreprocessor',
    num_classes=10,
    mean=[77.8, 77.8, 77.8],
    std=[82.5, 82.5, 82.5],
    to_rgb=False,  # they are gray
    transforms=[
        dict(type='mmrazor_byot.BatchRandomCrop', crop_size=32, padding=2)
    ])

loader = dict(
    num_workers=0,  # a batch is one indexing operation
    pin_memory=False,
    persistent_workers=False,
    collate_fn=dict(type='mmrazor_byot.collate_batch'))
batches = dict(type='mmrazor_byot.ImageBatches', device='auto')
digits = dict(type='mmrazor_byot.Digits')

train_dataloader = dict(
    batch_size=64,
    dataset=dict(
        dataset=dict(split='train', hold_out_every=5, **digits), **batches),
    sampler=dict(type='DefaultSampler', shuffle=True),
    **loader)

val_dataloader = dict(
    batch_size=500,
    dataset=dict(dataset=dict(split='test', **digits), **batches),
    sampler=dict(type='DefaultSampler', shuffle=False),
    **loader)
val_evaluator = dict(
    type='mmrazor_byot.BatchEvaluator',
    metrics=dict(type='mmrazor_byot.ExitAccuracy', topk=(1, 5)))

test_dataloader = val_dataloader
test_evaluator = val_evaluator

# Every fifth training image, held out of training.
calibration_dataloader = dict(
    batch_size=500,
    dataset=dict(
        dataset=dict(
            split='train', hold_out_every=5, held_out=True, **digits),
        **batches),
    sampler=dict(type='DefaultSampler', shuffle=False),
    **loader)

del loader, batches, digits  # or they would be keys of the config
