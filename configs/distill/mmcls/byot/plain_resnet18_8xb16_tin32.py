# The plain network without exits, with the same data and schedule.
_base_ = './byot_resnet18_8xb16_tin32.py'

architecture = _base_.model.architecture
architecture.head.in_channels = 512
model = dict(_delete_=True, **architecture)

del architecture  # or it would be a key of the config
