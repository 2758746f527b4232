# Beyond the paper. mmpretrain's data and 300 epochs of AdamW at a batch of
# 1,024 for its 4,096, and without its moving average of the weights.
_base_ = [
    'mmpretrain::_base_/models/convnext/convnext-tiny.py',
    '../../../_base_/datasets/imagenet_bs64_swin.py',
    'mmpretrain::_base_/schedules/imagenet_bs1024_adamw_swin.py',
    '../../../_base_/default_runtime.py'
]

architecture = _base_.model
# The exits need maps; pooling comes behind the last norm instead of before.
architecture.backbone.gap_before_final_norm = False
architecture.neck = dict(type='GlobalAveragePooling')
model = dict(
    _delete_=True,
    type='mmrazor_byot.BYOT',
    architecture=architecture,
    sections=(0, 1, 2, 3),
    input_size=224)
