# Not in the paper. As mmpretrain's, but with Swin's batch size of 1,024 instead
# of 4,096 and without the moving average of the weights. The exits need feature
# maps, so pooling comes after the last norm instead of before it.
_base_ = './byot_swin-tiny_16xb64_in1k.py'

model = dict(
    architecture=dict(
        backbone=dict(
            _delete_=True,
            type='ConvNeXt',
            arch='tiny',
            drop_path_rate=0.1,
            gap_before_final_norm=False)))
optim_wrapper = dict(clip_grad=None)
