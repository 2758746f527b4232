"""Which order of colours a network was trained on."""

import pytest
from mmengine.config import Config
from recipes import load

from mmrazor_byot.datasets import network_order, reads_bgr

MEMORY = [dict(type='PackInputs')]
FILES = [dict(type='LoadImageFromFile'), *MEMORY]


def config(pipeline, **preprocessor):
    return Config(
        dict(
            model=dict(type='mmrazor_byot.BYOT'),
            data_preprocessor=preprocessor,
            test_dataloader=dict(dataset=dict(pipeline=pipeline)),
        )
    )


@pytest.mark.parametrize(
    'pipeline, to_rgb, order',
    [
        (MEMORY, False, 'RGB'),  # RGB as it comes
        (MEMORY, True, 'BGR'),  # RGB, turned round
        (FILES, False, 'BGR'),
        (FILES, True, 'RGB'),
    ],
)
def test_order(pipeline, to_rgb, order):
    assert network_order(config(pipeline, to_rgb=to_rgb)) == order
    in_model = config(pipeline, to_rgb=not to_rgb)
    in_model.model.data_preprocessor = dict(to_rgb=to_rgb)
    assert network_order(in_model) == order  # the model's own is what counts


@pytest.mark.parametrize('pipeline, order', [(MEMORY, 'RGB'), (FILES, 'BGR')])
def test_preprocessor_turns_nothing_unless_told(pipeline, order):
    cfg = config(pipeline)
    assert network_order(cfg) == order
    cfg.pop('data_preprocessor')
    assert network_order(cfg) == order


@pytest.mark.parametrize(
    'type_, bgr',
    [
        ('LoadImageFromFile', True),
        ('mmcv.LoadImageFromFile', True),
        ('mmpretrain.LoadImageFromFile', True),
        ('RandomFlip', False),
    ],
)
def test_who_opens_files(type_, bgr):
    assert reads_bgr([dict(type=type_), dict(type='PackInputs')]) is bgr
    assert reads_bgr([dict(type='PackInputs')]) is False


@pytest.mark.parametrize(
    'name',
    ['byot_resnet18_2xb64_digits', 'byot_resnet18_8xb16_cifar100', 'byot_resnet18_8xb32_in1k'],
)
def test_recipes_show_their_networks_rgb(name):
    assert network_order(load(name)) == 'RGB'
