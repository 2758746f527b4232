# Tiny ImageNet at 32 x 32 as one packed file, in the place of CIFAR-100.
# The file: TIN32=/path/to/file.npz sh tools/dist_train.sh ...
_base_ = './cifar100_bs16.py'

data_preprocessor = dict(
    mean=[123.058, 115.011, 101.717], std=[63.764, 61.697, 65.397])

train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='mmrazor_byot.PackedImages',
        ann_file='{{$TIN32:data/tin32.npz}}',
        split='train',
        pipeline={{_base_.train_pipeline}}))

val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='mmrazor_byot.PackedImages',
        ann_file='{{$TIN32:data/tin32.npz}}',
        split='test',
        pipeline={{_base_.test_pipeline}}))

test_dataloader = val_dataloader

calibration_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='mmrazor_byot.PackedImages',
        ann_file='{{$TIN32:data/tin32.npz}}',
        split='train',
        hold_out_every=10,
        held_out=True,
        pipeline={{_base_.test_pipeline}}))
