# For networks that stop early: stronger exit heads, no hint loss, and half of
# the training images held out, to calibrate an exit policy on.
_base_ = './byot_resnet18_2xb64_tin32-small.py'

# The first exit's head is narrow where its feature map is large: 1/4 must be
# fast, and its head is a fifth of its time.
strided = 'mmrazor_byot.StridedHead'
model = dict(
    exit_head=[
        dict(type=strided, growth=(1, 2, 2)),
        dict(type=strided),
        dict(type=strided)
    ],
    hint_loss=None)
train_dataloader = dict(dataset=dict(hold_out_every=2))
calibration_dataloader = dict(dataset=dict(hold_out_every=2))
