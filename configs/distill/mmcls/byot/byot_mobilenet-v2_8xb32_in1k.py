# Not in the paper; mmpretrain's schedule for this network, 300 epochs.
_base_ = [
    'mmpretrain::_base_/models/mobilenet_v2_1x.py',
    '../../../_base_/datasets/imagenet_bs32.py',
    'mmpretrain::_base_/schedules/imagenet_bs256_epochstep.py',
    '../../../_base_/default_runtime.py'
]

model = dict(
    _delete_=True,
    type='mmrazor_byot.BYOT',
    architecture=_base_.model,
    # With reduction 4 of 1,280 channels exit 1 would cost more than the network.
    exit_head=dict(type='mmrazor_byot.BottleneckHead', reduction=16),
    sections=(1, 2, 4, 7),  # the last maps of 56, 28, 14 and 7 pixels
    input_size=224)
