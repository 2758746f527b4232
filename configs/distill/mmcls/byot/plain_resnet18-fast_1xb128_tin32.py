# The plain network without exits, with the same data and schedule.
_base_ = './byot_resnet18-fast_1xb128_tin32.py'

architecture = _base_.model.architecture
architecture.head.in_channels = 512
architecture.head.type = 'mmrazor_byot.BatchLinearClsHead'
model = dict(_delete_=True, **architecture)

del architecture  # or it would be a key of the config
