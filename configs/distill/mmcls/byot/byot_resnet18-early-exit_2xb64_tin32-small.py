# For early exit: stronger exit heads, no hint loss, and half of the training
# images held out to calibrate an exit policy.
_base_ = './byot_resnet18_2xb64_tin32-small.py'

# The head of the first exit is narrow while its feature map is large, because it
# takes a fifth of the time of exit 1/4.
model = dict(
    exit_head=[
        dict(type='mmrazor_byot.StridedHead', growth=(1, 2, 2)),
        dict(type='mmrazor_byot.StridedHead'),
        dict(type='mmrazor_byot.StridedHead')
    ],
    hint_loss=None)
train_dataloader = dict(dataset=dict(hold_out_every=2))
calibration_dataloader = dict(dataset=dict(hold_out_every=2))
