# The twin without exits: the same network, data and schedule.
_base_ = './byot_resnet18_8xb16_tin32.py'

model = dict(_delete_=True, **_base_.model.architecture)
