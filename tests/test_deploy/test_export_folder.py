"""Exports that fail leave nothing; colours and mean stand in the models."""

import numpy as np
import onnx
import pytest
import torch
from exported import needs_new_torch
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpretrain.registry import TRANSFORMS
from PIL import Image

from mmrazor_byot.deploy import export_folder as module
from mmrazor_byot.deploy import onnx_export
from mmrazor_byot.deploy.export_folder import Settings, export_folder
from mmrazor_byot.deploy.images import load_images
from mmrazor_byot.deploy.onnx_check import _difference
from mmrazor_byot.deploy.preparation import Preparation
from mmrazor_byot.deploy.runtime import DeployedNetwork
from mmrazor_byot.errors import ConfigError, DatasetError, DeployError
from mmrazor_byot.registry import MODELS

QUICK = Settings(random_images=True, images=5, eval_images=0)
MEAN, STD = [10.0, 120.0, 200.0], [40.0, 60.0, 90.0]


@pytest.fixture
def bgr(tmp_path, tiny_architecture):
    """Config and checkpoint of a network of two exits that is shown BGR."""
    tiny_architecture['backbone']['out_indices'] = (1, 3)
    loader = dict(
        dataset=dict(
            type='CustomDataset', pipeline=[dict(type='LoadImageFromFile'), dict(type='PackInputs')]
        )
    )
    path = tmp_path / 'bgr.py'
    path.write_text(
        Config(
            dict(
                model=dict(
                    type='mmrazor_byot.BYOT',
                    architecture=tiny_architecture,
                    data_preprocessor=dict(mean=MEAN, std=STD, to_rgb=False),
                ),
                test_dataloader=loader,
            )
        ).pretty_text
    )
    cfg = Config.fromfile(path)
    init_default_scope('mmpretrain')
    model = MODELS.build(cfg.model)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'bgr.pth')
    model.eval()
    return cfg, str(tmp_path / 'bgr.pth'), model


def preparation(order, **settings):
    model = torch.nn.Module()
    model.data_preprocessor = MODELS.build(dict(type='mmpretrain.ClsDataPreprocessor', **settings))
    return Preparation(model, order)


@pytest.mark.parametrize(
    'order, expected',
    [
        ('RGB', [(10 - 1) / 4, (20 - 2) / 5, (30 - 3) / 6]),
        ('BGR', [(30 - 1) / 4, (20 - 2) / 5, (10 - 3) / 6]),
    ],
)
def test_colours_and_mean_of_a_pixel(order, expected):
    prepare = preparation(order, mean=[1.0, 2.0, 3.0], std=[4.0, 5.0, 6.0])
    image = torch.tensor([10, 20, 30], dtype=torch.uint8).reshape(1, 1, 1, 3)
    found = prepare(image)
    assert found.shape == (1, 3, 1, 1) and found.dtype == torch.float32
    np.testing.assert_allclose(found.flatten(), expected, rtol=1e-6)


def test_without_mean_numbers_stay():
    image = torch.arange(12, dtype=torch.uint8).reshape(1, 2, 2, 3)
    found = preparation('RGB')(image)
    assert found[0, 0].tolist() == [[0.0, 3.0], [6.0, 9.0]]


@needs_new_torch
def test_an_exported_network_takes_rgb(bgr, tmp_path):
    cfg, checkpoint, model = bgr
    manifest = export_folder(cfg, checkpoint, tmp_path / 'out', QUICK)
    assert manifest.check['origin'] == 'random pixels'
    assert manifest.classes is None and manifest.num_exits == 2
    images = np.random.default_rng(3).integers(0, 256, (3, 32, 32, 3), np.uint8)
    blue_first = (images[..., ::-1] - np.array(MEAN)) / np.array(STD)
    inputs = torch.from_numpy(blue_first).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        expected = model(inputs, mode='tensor')
    network = DeployedNetwork(tmp_path / 'out', threads=1)
    for number in (1, 2):
        np.testing.assert_allclose(
            network.exit_logits(number, images), expected[number - 1], atol=1e-5
        )
    # The wrong order would show.
    turned = network.exit_logits(2, np.ascontiguousarray(images[..., ::-1]))
    assert np.abs(turned - expected[1].numpy()).max() > 1e-3


@needs_new_torch
def test_from_image_files_to_logits(bgr, tmp_path):
    cfg, checkpoint, model = bgr
    files = []
    for i in range(4):
        noise = np.random.default_rng(i).integers(0, 256, (5, 5, 3), np.uint8)
        files.append(tmp_path / f'photos/{"ab"[i % 2]}/{i}.png')
        files[-1].parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise).resize((50 + i, 44)).save(files[-1])
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='ResizeEdge', scale=36),
        dict(type='CenterCrop', crop_size=32),
        dict(type='PackInputs'),
    ]
    dataset = dict(type='CustomDataset', data_root=str(tmp_path / 'photos'), pipeline=pipeline)
    cfg.test_dataloader.dataset.pipeline = pipeline
    cfg.calibration_dataloader = dict(
        batch_size=3,
        num_workers=0,
        dataset=dataset,
        sampler=dict(type='DefaultSampler', shuffle=False),
    )
    manifest = export_folder(cfg, checkpoint, tmp_path / 'out', QUICK._replace(random_images=False))
    assert manifest.check['origin'] == 'calibration images'
    assert manifest.check['images'] == 4
    network = DeployedNetwork(tmp_path / 'out', threads=1)
    images = load_images(files, manifest.resize, network.input_size)
    results = [
        Compose([TRANSFORMS.build(step) for step in pipeline])(dict(img_path=str(path)))
        for path in files
    ]
    inputs = [
        (x['inputs'].float() - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
        for x in results
    ]
    with torch.no_grad():
        expected = model(torch.stack(inputs), mode='tensor')
    for number in (1, 2):
        np.testing.assert_allclose(
            network.exit_logits(number, images), expected[number - 1], atol=1e-5
        )


@needs_new_torch
def test_a_failed_check_leaves_nothing(bgr, tmp_path, monkeypatch):
    cfg, checkpoint, _ = bgr
    before = sorted(tmp_path.iterdir())

    class Wrong(Preparation):
        def forward(self, images):
            return super().forward(images) + 1

    monkeypatch.setattr(module, 'preparation', lambda cfg, model: Wrong(model, 'BGR'))
    with pytest.raises(DeployError, match='exit ./2 cut, batch of 1: a logit'):
        export_folder(cfg, checkpoint, tmp_path / 'out', QUICK)
    assert sorted(tmp_path.iterdir()) == before


@needs_new_torch
def test_an_old_torch(bgr, tmp_path, monkeypatch):
    cfg, checkpoint, _ = bgr
    monkeypatch.setattr(onnx_export, 'OLDEST_TORCH', '99')
    with pytest.raises(DeployError, match='exporting needs torch 99 or newer'):
        export_folder(cfg, checkpoint, tmp_path / 'out', QUICK)


def test_another_answer_is_found_even_where_logits_are_close():
    expected = np.array([[0.5, 0.50001]], np.float32)
    assert _difference(expected, expected, 'here') == 0
    with pytest.raises(DeployError, match='on 1 of 1 images'):
        _difference(expected[:, ::-1], expected, 'here')


def test_what_is_in_the_way_stays(bgr, tmp_path):
    cfg, checkpoint, _ = bgr
    out = tmp_path / 'out'
    out.mkdir()
    (out / 'mine.txt').write_text('of value')
    with pytest.raises(ConfigError, match='is there already'):
        export_folder(cfg, checkpoint, out, QUICK)
    with pytest.raises(ConfigError, match='--force does not replace it'):
        export_folder(cfg, checkpoint, out, QUICK._replace(force=True))
    assert [p.name for p in out.iterdir()] == ['mine.txt']


@needs_new_torch
def test_force_replaces_an_export_whole(bgr, tmp_path):
    cfg, checkpoint, _ = bgr
    out = tmp_path / 'out'
    out.mkdir()
    for name in ('manifest.json', 'old.onnx'):
        (out / name).write_text('old')
    export_folder(cfg, checkpoint, out, QUICK._replace(force=True, opset=20))
    assert not (out / 'old.onnx').exists()
    assert DeployedNetwork(out).manifest.opset == 20
    for path in out.glob('*.onnx'):
        imported = onnx.load(path).opset_import
        assert [(x.domain, x.version) for x in imported] == [('', 20)]
    assert not [p for p in tmp_path.iterdir() if '.tmp' in p.name or '.old' in p.name]


@pytest.mark.parametrize(
    'changes, reason',
    [
        (dict(images=0), '--images 0'),
        (dict(opset=17), '--opset 17: torch exports 18 and newer'),
        (dict(opset=99), '--opset 99: .* knows up to'),
        (dict(eval_images=-1), '--eval-images -1'),
        (dict(int8=True), 'leave --random-images out'),
        (dict(random_images=False), 'no calibration_dataloader'),
        (dict(policy='nowhere.json'), 'nowhere.json" does not exist'),
    ],
)
def test_wrong_settings(bgr, tmp_path, changes, reason):
    cfg, checkpoint, _ = bgr
    with pytest.raises(ConfigError, match=reason):
        export_folder(cfg, checkpoint, tmp_path / 'out', QUICK._replace(**changes))
    assert not (tmp_path / 'out').exists()


def test_calibration_images_that_are_missing(bgr, tmp_path):
    cfg, checkpoint, _ = bgr
    cfg.calibration_dataloader = dict(
        batch_size=4,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=False),
        dataset=dict(type='CustomDataset', data_root=str(tmp_path / 'none'), pipeline=[]),
    )
    with pytest.raises(DatasetError, match='none.*--random-images does'):
        export_folder(cfg, checkpoint, tmp_path / 'out', QUICK._replace(random_images=False))


def test_a_place_that_cannot_be_written(bgr, tmp_path):
    cfg, checkpoint, _ = bgr
    (tmp_path / 'file').write_text('')
    with pytest.raises(ConfigError, match='cannot write .*file/out'):
        export_folder(cfg, checkpoint, tmp_path / 'file/out', QUICK)


def test_a_recipe_that_shows_other_sizes(bgr, tmp_path):
    cfg, checkpoint, _ = bgr
    cfg.calibration_dataloader = dict(
        batch_size=4,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=False),
        dataset=dict(
            type='mmrazor_byot.Digits',
            split='train',
            pipeline=[dict(type='Resize', scale=24), dict(type='PackInputs')],
        ),
    )
    with pytest.raises(ConfigError, match=r'images of \(3, 24, 24\), its'):
        export_folder(cfg, checkpoint, tmp_path / 'out', QUICK._replace(random_images=False))
