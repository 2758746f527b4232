# For networks that stop early: stronger exit heads, no hint loss, and half of
# the training images held out, to calibrate an exit policy on.
_base_ = './byot_resnet18_2xb64_tin32-small.py'

model = dict(
    exit_head=dict(type='mmrazor_byot.StridedHead'), hint_loss=None)
train_dataloader = dict(dataset=dict(hold_out_every=2))
calibration_dataloader = dict(dataset=dict(hold_out_every=2))
