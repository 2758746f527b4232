# Not in the paper. Data and schedule (90 epochs) are ResNet's; EfficientNet's
# own training takes 350 epochs with RMSProp and AutoAugment.
_base_ = './byot_resnet18_8xb32_in1k.py'

model = dict(
    architecture=dict(
        backbone=dict(_delete_=True, type='EfficientNet', arch='b0')),
    # With reduction 4 of 1,280 channels exit 1 would cost more than the network.
    exit_head=dict(type='mmrazor_byot.BottleneckHead', reduction=16),
    sections=(2, 3, 4, 6))  # the last maps of 56, 28, 14 and 7 pixels
