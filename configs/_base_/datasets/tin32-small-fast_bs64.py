# The images of tin32-small_bs64.py in whole batches.
_base_ = './tin32-fast_bs128.py'

data_preprocessor = dict(
    num_classes=20,
    transforms=[
        dict(type='mmrazor_byot.BatchRandomCrop', crop_size=32, padding=4),
        dict(
            type='mmrazor_byot.BatchRandomFlip',
            prob=0.5,
            direction='horizontal'),
    ])

train_dataloader = dict(
    batch_size=64,
    dataset=dict(dataset=dict(num_classes=20, samples_per_class=150)))
val_dataloader = dict(dataset=dict(dataset=dict(num_classes=20)))
test_dataloader = dict(dataset=dict(dataset=dict(num_classes=20)))
calibration_dataloader = dict(dataset=dict(dataset=dict(num_classes=20)))
