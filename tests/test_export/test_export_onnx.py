"""Exports that fail leave nothing; colors and mean are in the graph."""

import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from mmcv.transforms import Compose
from mmengine.config import Config
from mmpretrain.registry import TRANSFORMS
from PIL import Image
from run import DIGITS, ROOT, WEIGHTS, environment

from mmrazor_byot.apis.transform import Preprocessing
from mmrazor_byot.early_exit import (
    ConfidencePolicy,
    EntropyPolicy,
    MarginPolicy,
    PolicyFile,
    RecordedNetwork,
    policy_text,
)
from mmrazor_byot.errors import ConfigError, DeployError, NonFiniteOutputError
from mmrazor_byot.export import export_onnx as module
from mmrazor_byot.export import write_export
from mmrazor_byot.export.check import separating_policy
from mmrazor_byot.export.export_onnx import export_onnx
from mmrazor_byot.export.preprocessing import normalization
from mmrazor_byot.export.stages import StageSessions
from mmrazor_byot.registry import MODELS
from mmrazor_byot.runtime import EarlyExitModel
from mmrazor_byot.runtime.images import read_image
from mmrazor_byot.runtime.resize import prepare

MEAN, STD = [10.0, 120.0, 200.0], [40.0, 60.0, 90.0]


@pytest.fixture
def bgr(tmp_path, tiny_architecture):
    """Config and checkpoint of a network of two exits that is shown BGR, and the network."""
    tiny_architecture['backbone']['out_indices'] = (1, 3)
    pipeline = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]
    cfg = dict(
        model=dict(
            type='mmrazor_byot.BYOT',
            architecture=tiny_architecture,
            data_preprocessor=dict(mean=MEAN, std=STD, to_rgb=False),
        ),
        test_dataloader=dict(dataset=dict(type='CustomDataset', pipeline=pipeline)),
    )
    path = tmp_path / 'bgr.py'
    path.write_text(Config(cfg).pretty_text)
    cfg = Config.fromfile(path)
    model = MODELS.build(cfg.model)
    torch.save(
        dict(state_dict=model.state_dict(), meta=dict(CLASSES=list('abcde'))), tmp_path / 'bgr.pth'
    )
    model.eval()
    return cfg, str(tmp_path / 'bgr.pth'), model


def torch_scores(model, images, exit_number):
    """Softmax of an exit for images (N, H, W, 3) RGB, turned and normalised here."""
    blue_first = (images[..., ::-1] - np.array(MEAN)) / np.array(STD)
    inputs = torch.from_numpy(blue_first).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        return model(inputs, mode='tensor')[exit_number - 1].softmax(1).numpy()


NORMALIZE = dict(mean=[1.0, 2.0, 3.0], std=[4.0, 5.0, 6.0])


@pytest.mark.parametrize(
    'order, settings, expected',
    [
        ('RGB', NORMALIZE, [(10 - 1) / 4, (20 - 2) / 5, (30 - 3) / 6]),
        ('BGR', NORMALIZE, [(30 - 1) / 4, (20 - 2) / 5, (10 - 3) / 6]),
        ('RGB', {}, [10, 20, 30]),
    ],
)
def test_colors_and_mean_of_a_pixel(order, settings, expected):
    preprocessor = MODELS.build(dict(type='mmpretrain.ClsDataPreprocessor', **settings))
    image = torch.tensor([10, 20, 30], dtype=torch.uint8).reshape(1, 1, 1, 3)
    found = normalization(preprocessor, order)(image)
    assert found.shape == (1, 3, 1, 1) and found.dtype == torch.float32
    np.testing.assert_allclose(found.flatten(), expected, rtol=1e-6)


def test_an_exported_network_takes_rgb(bgr, tmp_path):
    cfg, checkpoint, model = bgr
    export = export_onnx(cfg, checkpoint, tmp_path / 'new/a.onnx', no_data=True)
    about = export.metadata
    assert about.classes == list('abcde')  # mmcls 0.x names them so
    assert about.thresholds == [2.0] and about.exit_numbers == [1, 2]
    assert export.difference < 1e-5 and about.exits[0]['top1'] is None
    images = np.random.default_rng(3).integers(0, 256, (3, 32, 32, 3), np.uint8)
    file = EarlyExitModel(tmp_path / 'new/a.onnx', threads=1)
    for number, thresholds in ((1, 0), (2, None)):
        scores, exits, *_ = file(images, thresholds)
        assert exits.tolist() == [number] * 3
        np.testing.assert_allclose(scores, torch_scores(model, images, number), atol=1e-6)
    # The wrong order would show.
    turned = file(np.ascontiguousarray(images[..., ::-1])).scores
    assert np.abs(turned - torch_scores(model, images, 2)).max() > 1e-4


def test_from_image_files_to_scores(bgr, tmp_path):
    cfg, checkpoint, model = bgr
    files = []
    for i in range(4):
        noise = np.random.default_rng(i).integers(0, 256, (5, 5, 3), np.uint8)
        files.append(tmp_path / f'photos/{"ab"[i % 2]}/{i}.png')
        files[-1].parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise).resize((50 + i, 44)).save(files[-1])
    for name in 'cde':  # classes of the checkpoint without images
        (tmp_path / 'photos' / name).mkdir()
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='ResizeEdge', scale=36),
        dict(type='CenterCrop', crop_size=32),
        dict(type='PackInputs'),
    ]
    loader = dict(
        batch_size=3,
        num_workers=0,
        dataset=dict(type='CustomDataset', data_root=str(tmp_path / 'photos'), pipeline=pipeline),
        sampler=dict(type='DefaultSampler', shuffle=False),
    )
    # Training images serve where none are held out, with the pipeline of the test.
    training = {**loader, 'dataset': {**loader['dataset'], 'pipeline': []}}
    cfg.merge_from_dict(dict(test_dataloader=loader, train_dataloader=training))
    export = export_onnx(cfg, checkpoint, tmp_path / 'a.onnx', exit_number=1)
    about = export.metadata
    images = np.stack([prepare(read_image(f), about.resize, about.input_size) for f in files])
    read = Compose([TRANSFORMS.build(step) for step in pipeline])
    expected = [read(dict(img_path=str(path)))['inputs'].permute(1, 2, 0) for path in files]
    np.testing.assert_array_equal(images, torch.stack(expected).numpy()[..., ::-1])
    scores, exits, *_ = EarlyExitModel(tmp_path / 'a.onnx')(images)
    assert exits.tolist() == [1] * 4
    right = torch_scores(model, images, 1)
    np.testing.assert_allclose(scores, right, atol=1e-6)
    top1 = 100 * np.mean(right.argmax(1) == [0, 1, 0, 1])
    assert export.accuracy['fp32'].exits == {1: top1} and about.exits[0]['top1'] == top1


def test_a_failed_check_leaves_nothing(bgr, tmp_path, monkeypatch):
    cfg, checkpoint, _ = bgr
    (tmp_path / 'a.onnx').write_text('older')
    before = sorted(tmp_path.iterdir())

    class Wrong(Preprocessing):
        def forward(self, images):
            return super().forward(images) + 1

    monkeypatch.setattr(module, 'preprocessing', lambda *_: Wrong(None, None))
    with pytest.raises(DeployError, match='stop at another exit|a score'):
        export_onnx(cfg, checkpoint, tmp_path / 'a.onnx', no_data=True)
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / 'a.onnx').read_text() == 'older'


def test_int8_is_checked_too(tmp_path, monkeypatch):
    class Wrong(StageSessions):
        def logits(self, images):
            return super().logits(images).flip(-1)

    monkeypatch.setattr(write_export, 'StageSessions', Wrong)  # what an int8 file is compared with
    with pytest.raises(DeployError, match='a score'):
        cfg = Config.fromfile(DIGITS)
        export_onnx(cfg, str(WEIGHTS), tmp_path / 'a.onnx', exit_number=1, int8=True)


def test_a_network_that_answers_with_nan(bgr, tmp_path):
    cfg, checkpoint, _ = bgr
    state = torch.load(checkpoint)
    # Finite weights, of which the sum is not.
    for name, weight in state['state_dict'].items():
        if name.startswith('exit_heads.0') and name.endswith('conv.weight'):
            weight.fill_(3e38)
    torch.save(state, checkpoint)
    with pytest.raises(NonFiniteOutputError, match='exit 1 answers with NaN .* of 64 images'):
        export_onnx(cfg, checkpoint, tmp_path / 'a.onnx', no_data=True)
    assert not (tmp_path / 'a.onnx').exists()


@pytest.mark.parametrize('kind', [ConfidencePolicy, MarginPolicy, EntropyPolicy])
@pytest.mark.parametrize('ensemble', [False, True])
def test_the_check_lets_samples_leave_everywhere(kind, ensemble):
    logits = torch.randn(64, 4, 10, generator=torch.Generator().manual_seed(0))
    policy = separating_policy(kind([0.5, None, 0.5], ensemble=ensemble), logits)
    exits = RecordedNetwork(logits).run(policy).exits
    counts = torch.bincount(exits, minlength=5)[1:].tolist()
    reached = (0, 1, 2, 3) if ensemble else (0, 2, 3)
    assert all(counts[i] >= 64 // len(reached) - 10 for i in reached) and sum(counts) == 64


@pytest.mark.parametrize(
    'changes, reason',
    [
        (dict(int8=True), 'leave --no-data out'),
        (dict(exit_number=3), '--exit 3: the network has the exits 1 to 2'),
        (dict(exit_number=0), '--exit 0'),
        (dict(policy='other.json'), 'calibrated for 2 exits and 7 classes'),
        (dict(out='folder'), 'folder": it is a folder'),
    ],
)
def test_wrong_settings(bgr, tmp_path, changes, reason):
    cfg, checkpoint, _ = bgr
    (tmp_path / 'folder').mkdir()
    (tmp_path / 'other.json').write_text(policy_text(PolicyFile(ConfidencePolicy(0.5), 2, 7)))
    settings = {'out': 'a.onnx', 'no_data': True, **changes}
    for name in {'out', 'policy'} & settings.keys():
        settings[name] = tmp_path / settings[name]
    before = sorted(tmp_path.rglob('*'))
    with pytest.raises(ConfigError, match=reason):
        export_onnx(cfg, checkpoint, **settings)
    assert sorted(tmp_path.rglob('*')) == before


def test_a_recipe_that_shows_other_sizes(bgr, tmp_path):
    cfg, checkpoint, _ = bgr
    pipeline = [dict(type='Resize', scale=24), dict(type='PackInputs')]
    cfg.calibration_dataloader = dict(
        batch_size=4,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=False),
        dataset=dict(type='mmrazor_byot.Digits', split='train', pipeline=pipeline),
    )
    with pytest.raises(ConfigError, match=r'images of \(3, 24, 24\), its'):
        export_onnx(cfg, checkpoint, tmp_path / 'a.onnx')


def test_sigterm_leaves_nothing(tmp_path):
    """Sent while the temporary file is there."""
    (tmp_path / 'slow.py').write_text(
        'import sys, time\n'
        'from mmrazor_byot.export import write_export as module\n'
        'module.check_file = lambda *_: (print("checking", flush=True), time.sleep(60))\n'
        'import runpy; sys.argv = sys.argv[1:]\n'
        'runpy.run_path(sys.argv[0], run_name="__main__")\n'
    )
    tool = ROOT / 'tools/deploy/export_onnx.py'
    out = tmp_path / 'out/a.onnx'
    words = tool, DIGITS, 'zoo://byot_resnet18_2xb64_digits', '--out', out, '--no-data'
    process = subprocess.Popen(
        [sys.executable, tmp_path / 'slow.py', *map(str, words), '--exit', '1'],
        env=environment({'MMRAZOR_BYOT_HOME': str(tmp_path / 'home')}),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert any('checking' in line for line in process.stdout)
    assert len(list(out.parent.iterdir())) == 1
    process.send_signal(signal.SIGTERM)
    start = time.monotonic()
    assert process.wait(30) == 143 and time.monotonic() - start < 5
    assert not out.parent.exists()
