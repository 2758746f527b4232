# The plain network without exits, with the same data and schedule.
_base_ = './byot_resnet18_2xb64_digits.py'

architecture = _base_.model.architecture
architecture.head.in_channels = 64
model = dict(_delete_=True, **architecture)

del architecture  # or it would be a key of the config
