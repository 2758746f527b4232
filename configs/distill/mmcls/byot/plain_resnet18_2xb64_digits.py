# The twin without exits: the same network, data and schedule.
_base_ = './byot_resnet18_2xb64_digits.py'

model = dict(_delete_=True, **_base_.model.architecture)
