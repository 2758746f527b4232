"""What configs say of data sets, and which order of colors a network was trained on."""

import copy

import pytest
from mmengine.config import Config
from recipes import load

from mmrazor_byot.datasets import image_settings, network_order, per_image, reads_bgr

DIGITS = dict(type='mmrazor_byot.Digits', indices=7)
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
    'type_, bgr', [('LoadImageFromFile', True), ('mmcv.LoadImageFromFile', True), ('Resize', False)]
)
def test_which_pipelines_open_files(type_, bgr):
    assert reads_bgr([dict(type=type_), dict(type='PackInputs')]) is bgr


@pytest.mark.parametrize(
    'name',
    ['byot_resnet18_2xb64_digits', 'byot_resnet18_8xb32_in1k'],
)
def test_recipes_show_their_networks_rgb(name):
    assert network_order(load(name)) == 'RGB'


def test_settings_of_batches_and_of_single_images():
    loader = dict(
        batch_size=2,
        collate_fn=dict(type='mmrazor_byot.collate_batch'),
        dataset=dict(
            type='mmrazor_byot.ImageBatches', device='auto', hold_out_every=4, dataset=dict(DIGITS)
        ),
    )
    before = copy.deepcopy(loader)
    assert (
        image_settings(loader['dataset'])
        == dict(DIGITS, hold_out_every=4)
        == image_settings(dict(DIGITS, hold_out_every=4))
    )
    singly = per_image(loader)
    assert singly == dict(
        batch_size=2,
        dataset=dict(DIGITS, hold_out_every=4, pipeline=[dict(type='mmpretrain.PackInputs')]),
    )
    assert loader == before
    assert per_image(singly) is singly
