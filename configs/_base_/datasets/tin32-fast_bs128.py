# Tiny ImageNet at 32 x 32 in whole batches, see cifar100-fast_bs128.py.
# The file: TIN32=/path/to/file.npz sh tools/dist_train.sh ...
_base_ = './cifar100-fast_bs128.py'

data_preprocessor = dict(
    mean=[123.058, 115.011, 101.717], std=[63.764, 61.697, 65.397])

tin32 = dict(
    _delete_=True,
    type='mmrazor_byot.PackedImages',
    ann_file='{{$TIN32:data/tin32.npz}}')

train_dataloader = dict(dataset=dict(dataset=dict(split='train', **tin32)))
val_dataloader = dict(dataset=dict(dataset=dict(split='test', **tin32)))
test_dataloader = val_dataloader
calibration_dataloader = dict(
    dataset=dict(
        dataset=dict(
            split='train', hold_out_every=10, held_out=True, **tin32)))
