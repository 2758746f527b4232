# MMRazor's recipe, equal to its SelfDistill; loads its checkpoint.
_base_ = './byot_logits_resnet18_cifar100_8xb16_in1k.py'

# Two errors of the original, kept because its checkpoint was trained with them:
# the exits use a feature map from the middle of a block, and the hint loss
# broadcasts. As intended: type='ResNet_CIFAR' and reduction='mmrazor'.
model = dict(
    architecture=dict(backbone=dict(type='mmrazor_byot.MidBlockResNet_CIFAR')),
    exit_head=dict(_delete_=True, type='mmrazor.BYOTConnector', expansion=1,
                   kernel_size=3, stride=2),
    # A third error, a wrong index, disables the hint loss of exit 3/4.
    hint_loss=[dict(type='mmrazor_byot.HintLoss', loss_weight=0.03,
                    reduction='mmrazor_broadcast')] * 2 + [None])

train_pipeline = [
    *_base_.train_pipeline[:2],  # crop and flip
    dict(type='Cutout', shape=16, pad_val=0),  # every second image
    _base_.train_pipeline[2], dict(type='PackInputs')]  # AutoAugment
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
param_scheduler = dict(milestones=[80, 160, 240])
