# A narrow network and the first 20 classes: for a quick look on two CPU cores.
_base_ = './byot_resnet18_8xb16_tin32.py'

model = dict(
    architecture=dict(
        backbone=dict(stem_channels=16, base_channels=16),
        head=dict(num_classes=20)))
data_preprocessor = dict(num_classes=20)
train_dataloader = dict(batch_size=64, dataset=dict(num_classes=20))
val_dataloader = dict(dataset=dict(num_classes=20))
test_dataloader = dict(dataset=dict(num_classes=20))
calibration_dataloader = dict(dataset=dict(num_classes=20))

param_scheduler = dict(milestones=[20, 40, 55])
train_cfg = dict(max_epochs=60, val_interval=5)
