# A narrow network, the first 20 classes, 150 training images of each: it
# overfits as ResNet-18 does on CIFAR-100, within minutes on two CPU cores.
_base_ = './byot_resnet18_8xb16_tin32.py'

model = dict(
    architecture=dict(
        backbone=dict(stem_channels=16, base_channels=16),
        head=dict(num_classes=20)))
data_preprocessor = dict(num_classes=20)

train_pipeline = [
    dict(type='RandomCrop', crop_size=32, padding=4),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs'),
]
train_dataloader = dict(
    batch_size=64,
    num_workers=0,  # next to no work for each image
    dataset=dict(
        num_classes=20, samples_per_class=150, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(num_classes=20))
test_dataloader = dict(dataset=dict(num_classes=20))
calibration_dataloader = dict(dataset=dict(num_classes=20))

param_scheduler = dict(
    _delete_=True,
    type='OneCycleLR',
    eta_max=0.2,
    total_steps=60,
    by_epoch=True,
    convert_to_iter_based=True)
train_cfg = dict(max_epochs=60, val_interval=5)
