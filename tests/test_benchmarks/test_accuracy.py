"""The comparison of methods: what they share, and the command, cut short."""
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from accuracy import next_run
from accuracy_report import summarize, table
from accuracy_run import Run
from methods import (
    METHODS,
    SCALES,
    Scale,
    keep_apart,
    look_at_unused,
    method_config,
)
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmpretrain.structures import DataSample
from run import RECIPES, ROOT, run, succeeded

from mmrazor_byot.datasets.packed_images import pack_images
from mmrazor_byot.registry import DATASETS, MODELS

NARROW = {
    'model.architecture.backbone.base_channels': 4,
    'model.architecture.backbone.stem_channels': 4,
}
SHARED = ('train_dataloader', 'test_dataloader', 'optim_wrapper',
          'param_scheduler', 'train_cfg', 'custom_hooks', 'default_hooks')


@pytest.mark.parametrize('scale', SCALES)
def test_methods_differ_in_how_they_learn_alone(scale):
    byot = method_config(SCALES[scale], 'byot')
    for method in METHODS:
        cfg = method_config(SCALES[scale], method)
        for key in SHARED:
            assert cfg[key] == byot[key], (method, key)
        prepared = {**cfg.data_preprocessor,
                    **cfg.model.get('data_preprocessor', {})}
        assert prepared == byot.data_preprocessor


def test_schedule_of_the_full_scale():
    epochs = [method_config(SCALES[name], 'plain').train_cfg.max_epochs
              for name in ('full', 'full-60e')]
    assert epochs == [250, 60]


def test_the_strong_recipes_are_what_the_table_calls_strided():
    strided = method_config(SCALES['full'], 'byot-strided').model
    for data in ('tin32', 'cifar100'):
        strong = Config.fromfile(
            RECIPES / f'byot_resnet18_8xb16_{data}_strong.py').model
        assert strong == strided


def test_kept_images_are_not_trained_on():
    cfg = method_config(SCALES['small'], 'byot')
    keep_apart(cfg, 2)
    train, test = (cfg[f'{name}_dataloader'].dataset.dataset
                   for name in ('train', 'test'))
    assert (train.split, train.hold_out_every) == ('train', 2)
    assert (test.split, test.hold_out_every) == ('train', 2)
    assert test.held_out and not train.get('held_out')


def test_unused_images_are_those_behind_the_ones_trained_on(images):
    cfg = method_config(SCALES['small'], 'byot', {
        'train_dataloader.dataset.dataset.samples_per_class': 3})
    look_at_unused(cfg)
    shown, unused = (DATASETS.build(
        {**cfg[f'{name}_dataloader'].dataset.dataset, 'ann_file': images})
        for name in ('train', 'test'))
    assert (shown.split, unused.split) == ('train', 'train')
    # The images of a class come one after another, each brighter than the
    # one before.
    assert shown[20]['img'].max() == shown[0]['img'].max() + 1
    assert [len(shown), len(unused)] == [60, 20]
    for label in range(20):
        assert unused[label]['img'].max() == 12 * label + 3


def losses(method, steps=2):
    """Of a batch of four, as MMEngine takes them."""
    scale = Scale(SCALES['small'].recipe)
    cfg = method_config(scale, method,
                        {**NARROW, 'train_dataloader.batch_size': 4})
    torch.manual_seed(0)
    model = MODELS.build(
        {'data_preprocessor': cfg.data_preprocessor, **cfg.model})
    model.init_weights()
    model.train()
    optimizer = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    images = torch.arange(4 * 3 * 32 * 32).reshape(4, 3, 32, 32) * 7 % 256
    samples = [DataSample().set_gt_label(i) for i in range(4)]
    # Augmentation draws: the same for both.
    found = []
    for step in range(steps):
        torch.manual_seed(step)
        found.append(model.train_step(
            dict(inputs=images.byte(), data_samples=samples), optimizer))
    return [losses['loss'].item() for losses in found]


def test_mmrazors_classes_and_the_equal_recipe():
    """The second step shows that also the gradients are equal."""
    theirs, ours = losses('mmrazor'), losses('mmrazor-equal')
    assert theirs[0] != pytest.approx(theirs[1], rel=1e-2)
    assert ours == pytest.approx(theirs, rel=1e-4)


def test_only_what_needs_the_teacher_waits_for_it():
    plain, teacher, student = (
        Run(method, 0, None) for method in ('plain', 'teacher',
                                            'single-teacher'))
    assert next_run([student, plain], [teacher]) == plain
    assert next_run([student], [plain, teacher]) is None
    assert next_run([student, plain], []) == student
    assert next_run([], [plain]) is None


def result(method, seed, **top1):
    return dict(method=method, seed=seed, epochs=60, top1=top1)


def test_table():
    runs = [result('plain', 0, accuracy=40.0), result('plain', 1, accuracy=44),
            result('byot', 0, exit1=30.0, exit2=41.0, ensemble=45.0,
                   accuracy=41.0)]
    found = summarize(runs)
    assert found['plain']['top1']['accuracy'] == dict(
        mean=42, std=pytest.approx(8**0.5))
    assert table(found).splitlines()[2:] == [
        '| plain | - | 42.0 ± 2.8 | - | 2 | 60 |',
        '| byot | 30.0 | 41.0 | 45.0 | 1 | 60 |']


@pytest.fixture
def images(tmp_path):
    """A packed file of twenty classes, each of four greys."""
    greys = [np.full((32, 32, 3), 12 * label + i, np.uint8)
             for i in range(4) for label in range(20)]
    encoded = [cv2.imencode('.png', grey)[1].tobytes() for grey in greys]
    half = (encoded, [*range(20)] * 4)
    pack_images(str(tmp_path / 'set.npz'), list('abcdefghijklmnopqrst'),
                train=half, test=half)
    return str(tmp_path / 'set.npz')


def test_the_command(tmp_path, images):
    """Done runs are kept; other settings do not pass for them."""
    def accuracy(*more):
        return run(
            sys.executable, ROOT / 'benchmarks/accuracy.py', '--methods',
            'plain', 'byot', 'single-teacher', '--seeds', 3, '--jobs', 2,
            '--out', tmp_path, '--work-dir', tmp_path / 'work', *more,
            '--cfg-options', 'channels_last=False', 'train_cfg.max_epochs=1',
            'param_scheduler=None', 'default_hooks.checkpoint.interval=1',
            'train_dataloader.dataset.dataset.samples_per_class=3',
            *(f'{key}={value}' for key, value in NARROW.items()),
            TIN32=images)

    first = succeeded(accuracy())
    folder = tmp_path / 'accuracy_small'
    assert sorted(p.name for p in folder.iterdir()) == [
        'byot-3.json', 'plain-3.json', 'single-teacher-3.json',
        'teacher-0.json']
    kept = {p: p.stat().st_mtime_ns for p in folder.iterdir()}
    byot = json.loads((folder / 'byot-3.json').read_text())['top1']
    assert set(byot) == {'exit1', 'exit2', 'exit3', 'exit4', 'ensemble',
                         'accuracy'}
    cells = [f'{byot[name]:.1f}'
             for name in ('exit1', 'exit2', 'exit3', 'exit4', 'ensemble')]
    assert f'| byot | {" | ".join(cells)} | 1 | 1 |' in first
    for suffix in ('json', 'png', 'svg'):
        assert (tmp_path / f'accuracy_small.{suffix}').stat().st_size > 200

    assert succeeded(accuracy()).splitlines()[-6:] == \
        first.splitlines()[-6:]
    assert kept == {p: p.stat().st_mtime_ns for p in folder.iterdir()}
    succeeded(accuracy('--unused', '--methods', 'byot'))
    unused = tmp_path / 'accuracy_small_unused/byot-3.json'
    assert set(json.loads(unused.read_text())['top1']) == set(byot)
    tested = Path('work/accuracy_small/byot-3/unused/metrics.json')
    assert json.loads((tmp_path / tested).read_text())['exit1/top5'] > 0
    missing = accuracy('--unused', '--methods', 'byot', '--seeds', 4)
    assert 'byot-4/epoch_1.pth is missing; train it' in missing.stderr

    table = succeeded(accuracy('--variant', 'narrow', '--methods', 'plain'))
    assert (folder / 'plain-narrow-3.json').exists()
    assert [line.split()[1] for line in table.splitlines()[-5:]] == [
        'plain-narrow', 'byot', 'plain', 'single-teacher', 'teacher']

    other = accuracy('--seeds', 3, '--methods', 'byot', '--held-out',
                     '--name', 'accuracy_small')
    assert other.returncode != 0
    assert 'byot-3.json was made with other settings' in other.stderr


def test_a_run_that_fails_says_where_to_look(tmp_path, images):
    done = run(
        sys.executable, ROOT / 'benchmarks/accuracy.py', '--methods', 'byot',
        '--seeds', 0, '--out', tmp_path, '--work-dir', tmp_path / 'work',
        '--cfg-options', 'model.sections=9', TIN32=images)
    assert done.returncode != 0
    assert 'byot-0 failed, see ' in done.stdout
    assert 'error: 1 runs failed: byot-0' in done.stderr
    log = tmp_path / 'work/accuracy_small/byot-0/output.log'
    assert 'sections' in log.read_text()


@pytest.mark.slow
def test_stopping_it_stops_its_runs(tmp_path, images):
    """And what it had begun goes on from its last checkpoint."""
    folder = tmp_path / 'work/accuracy_small/byot-0'
    command = [
        sys.executable, str(ROOT / 'benchmarks/accuracy.py'), '--methods',
        'byot', '--seeds', '0', '--out', str(tmp_path), '--work-dir',
        str(tmp_path / 'work'), '--cfg-options', 'channels_last=False',
        'train_cfg.max_epochs=6', 'param_scheduler=None',
        'default_hooks.checkpoint.interval=1',
        *(f'{key}={value}' for key, value in NARROW.items())]
    path = os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')])
    process = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, 'TIN32': images,
                                'PYTHONPATH': path})
    deadline = time.time() + 240
    while not (folder / 'epoch_1.pth').exists():
        assert process.poll() is None and time.time() < deadline
        time.sleep(0.05)
    process.terminate()
    assert process.wait() != 0
    assert not list(tmp_path.glob('accuracy_small/*.json'))
    succeeded(run(*command, TIN32=images))
    assert (tmp_path / 'accuracy_small/byot-0.json').exists()
    log = (folder / 'output.log').read_text()
    assert 'resumed epoch: ' in log
