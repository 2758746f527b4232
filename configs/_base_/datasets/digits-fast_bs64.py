# scikit-learn's handwritten digits in whole batches, see
# cifar100-fast_bs128.py.
_base_ = './cifar100-fast_bs128.py'

data_preprocessor = dict(
    num_classes=10,
    mean=[77.8, 77.8, 77.8],
    std=[82.5, 82.5, 82.5],
    transforms=[
        dict(type='mmrazor_byot.BatchRandomCrop', crop_size=32, padding=2)
    ])

digits = dict(_delete_=True, type='mmrazor_byot.Digits')

train_dataloader = dict(
    batch_size=64,
    dataset=dict(dataset=dict(split='train', hold_out_every=5, **digits)))
val_dataloader = dict(dataset=dict(dataset=dict(split='test', **digits)))
test_dataloader = val_dataloader
calibration_dataloader = dict(
    dataset=dict(
        dataset=dict(
            split='train', hold_out_every=5, held_out=True, **digits)))
