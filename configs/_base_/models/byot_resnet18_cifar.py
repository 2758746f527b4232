# ResNet-18 with the CIFAR stem, cut after each of its four stages.
_base_ = 'mmpretrain::_base_/models/resnet18_cifar.py'

architecture = _base_.model
architecture.head.num_classes = 100
architecture.head.in_channels = None  # inferred, also for other backbones

model = dict(
    _delete_=True,
    type='mmrazor_byot.BYOT',
    architecture=architecture,
    exit_head=dict(type='mmrazor_byot.BottleneckHead'),
    # alpha = 0.3 and lambda = 0.03
    label_loss=dict(type='mmrazor_byot.LabelLoss', loss_weight=0.7),
    logit_loss=dict(
        type='mmrazor_byot.LogitLoss', temperature=3, loss_weight=0.3),
    hint_loss=dict(type='mmrazor_byot.HintLoss', loss_weight=0.03),
    input_size=32)

del architecture  # or it would be a key of the config
