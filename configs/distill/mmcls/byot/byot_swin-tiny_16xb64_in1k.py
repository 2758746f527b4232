# Not in the paper: a transformer, with mmpretrain's data and 300 epochs of AdamW.
_base_ = [
    'mmpretrain::_base_/models/swin_transformer/tiny_224.py',
    '../../../_base_/datasets/imagenet_bs64_swin.py',
    'mmpretrain::_base_/schedules/imagenet_bs1024_adamw_swin.py',
    '../../../_base_/default_runtime.py'
]

model = dict(
    _delete_=True,
    type='mmrazor_byot.BYOT',
    architecture=_base_.model,
    # The deepest feature is the output of a layer norm and has both signs.
    exit_head=dict(type='mmrazor_byot.BottleneckHead', out_act_cfg=None),
    sections=(0, 1, 2, 3),
    input_size=224)
optim_wrapper = dict(clip_grad=dict(max_norm=5.0))
