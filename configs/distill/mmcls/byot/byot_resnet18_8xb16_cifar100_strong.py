# The best recipe found on held-out photographs (benchmarks/README.md):
# stronger exit heads, no hint loss, a moving average of the weights.
_base_ = './byot_resnet18_8xb16_cifar100.py'

model = dict(
    exit_head=dict(type='mmrazor_byot.StridedHead'), hint_loss=None)

default_hooks = dict(
    ema=dict(
        type='EMAHook',
        ema_type='mmrazor_byot.ExponentialMovingAverage',
        momentum=0.0006,  # about four epochs of 390 iterations
        update_buffers=True))
