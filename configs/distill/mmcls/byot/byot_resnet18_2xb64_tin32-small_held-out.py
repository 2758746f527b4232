# Half of the training images are held out, to calibrate an exit policy on.
_base_ = './byot_resnet18_2xb64_tin32-small.py'

train_dataloader = dict(dataset=dict(hold_out_every=2))
calibration_dataloader = dict(dataset=dict(hold_out_every=2))
