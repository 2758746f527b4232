# ImageNet as mmpretrain trains ResNets on it; reports the accuracy of every exit.
_base_ = 'mmpretrain::_base_/datasets/imagenet_bs32.py'

train_dataloader = dict(
    persistent_workers=False,  # seed workers in each epoch
    worker_init_fn=dict(type='mmrazor_byot.seed_worker'))
val_dataloader = dict(persistent_workers=True)
val_evaluator = dict(
    _delete_=True, type='mmrazor_byot.ExitAccuracy', topk=(1, 5))

test_dataloader = val_dataloader
test_evaluator = val_evaluator
