# The first 20 classes of it and 150 training images of each: few enough for a
# narrow network to overfit, as ResNet-18 does on CIFAR-100.
_base_ = './tin32_bs16.py'

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
