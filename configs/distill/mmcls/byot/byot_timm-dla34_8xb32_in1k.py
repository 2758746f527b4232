# Not in the paper: a backbone of timm (pip install timm), here DLA-34. Any other
# that returns features by stage can be used by its name. The schedule is
# ResNet's.
_base_ = './byot_resnet18_8xb32_in1k.py'

model = dict(
    architecture=dict(
        backbone=dict(
            _delete_=True,
            type='TIMMBackbone',
            model_name='dla34',
            features_only=True)),
    sections=(2, 3, 4, 5))  # the maps of 56, 28, 14 and 7 pixels
