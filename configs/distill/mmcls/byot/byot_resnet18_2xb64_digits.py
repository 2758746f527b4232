# The embedded default: a narrow ResNet-18 teaches itself handwritten digits.
_base_ = [
    '../../../_base_/models/byot_resnet18-narrow.py',
    '../../../_base_/datasets/digits_bs64.py',
    '../../../_base_/schedules/digits_60e.py',
    '../../../_base_/default_runtime.py'
]

default_hooks = dict(logger=dict(interval=10))
randomness = dict(seed=0)
license = 'Apache-2.0'  # of the weights that ship
