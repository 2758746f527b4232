_base_ = [
    'mmpretrain::_base_/models/resnet18.py',
    '../../../_base_/datasets/imagenet_bs32.py',
    '../../../_base_/schedules/imagenet_90e.py',
    '../../../_base_/default_runtime.py'
]

architecture = _base_.model
architecture.head.in_channels = None  # inferred, also for other backbones
model = dict(
    _delete_=True,
    type='mmrazor_byot.BYOT',
    architecture=architecture,
    input_size=224)

del architecture  # or it would be a key of the config
