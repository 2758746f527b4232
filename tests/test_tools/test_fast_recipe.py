"""The tools on a recipe whose data come in whole batches."""

import json

import pytest
from mmengine.config import Config
from recipes import load
from run import RECIPES, exits, failed, succeeded, tool
from students import save_weights

from mmrazor_byot.apis.image_pipeline import data_transforms
from mmrazor_byot.datasets import network_order
from mmrazor_byot.export.classifier import export_classifier
from mmrazor_byot.export.preprocessing import resize_steps

FAST = RECIPES / 'byot_resnet18-fast_2xb64_digits.py'
WEIGHTS = next((RECIPES / 'weights').glob('byot_resnet18_2xb64_digits-*.pth'))


def test_testing_finds_what_the_readme_says(tmp_path):
    succeeded(tool('test.py', FAST, WEIGHTS, '--work-dir', tmp_path))
    top1 = [round(row['top1'], 2) for row in exits(tmp_path)]
    assert top1 == [97.33, 98.66, 99.0, 99.0, 99.0]


def test_calibration(tmp_path):
    out = tmp_path / 'policy.json'
    text = succeeded(tool('calibrate_exits.py', FAST, WEIGHTS, '--max-drop', '0.5', '--out', out))
    assert json.loads(out.read_text())['calibration']['images'] == 236
    assert 'hold_out_every' not in text  # the recipe trains without them


def test_two_processes_learn(tmp_path):
    text = succeeded(
        tool(
            'dist_train.sh',
            FAST,
            '2',
            '--work-dir',
            tmp_path,
            '--cfg-options',
            'train_cfg.max_epochs=8',
            'train_cfg.val_interval=8',
            'train_dataloader.dataset.samples_per_class=40',
            'train_dataloader.batch_size=20',
            'param_scheduler=None',
            'optim_wrapper.optimizer.lr=0.1',
            'default_hooks.logger.interval=1',
            PORT='29614',
        )
    )
    losses = [
        float(line.split(' loss: ')[1].split()[0])
        for line in text.splitlines()
        if 'Epoch(train)' in line
    ]
    assert len(losses) == 80  # 400 images, 2 x 20 a step, 8 epochs
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])
    assert len(exits(tmp_path)) == 5


def test_bad_input_is_one_line(tmp_path):
    done = tool(
        'train.py',
        FAST,
        '--work-dir',
        tmp_path,
        '--cfg-options',
        'train_dataloader.collate_fn.type=default_collate',
    )
    assert 'set collate_fn=' in failed(done)


@pytest.mark.parametrize('recipe', ['2xb64_digits', '1xb128_cifar100', '2xb64_tin32-small'])
def test_single_images_are_shown_as_ever(recipe):
    fast = load(f'byot_resnet18-fast_{recipe}')
    slow = load(f'byot_resnet18_{recipe.replace("1xb128", "8xb16")}')
    assert network_order(fast) == network_order(slow) == 'RGB'
    transforms = data_transforms(fast)
    assert resize_steps(transforms) == []
    assert (
        [t['type'].split('.')[-1] for t in transforms]
        == [t['type'] for t in data_transforms(slow)]
        == ['PackInputs']
    )


def test_the_student_needs_nothing_of_ours(tmp_path):
    written = []
    for name in ('byot_resnet18-fast_1xb128_cifar100', 'byot_resnet18_8xb16_cifar100'):
        cfg = load(name)
        cfg.model.architecture.backbone.update(base_channels=4, stem_channels=4)
        _, checkpoint = save_weights(Config(dict(model=cfg.model)), tmp_path / 'epoch_250.pth')
        done = export_classifier(cfg, checkpoint, tmp_path / name)
        assert 'mmrazor' not in done.config.read_text()
        written.append(Config.fromfile(done.config))
    fast, slow = written
    assert fast.model == slow.model
    assert fast.data_preprocessor == slow.data_preprocessor
    assert fast.test_evaluator == slow.test_evaluator
    for cfg in written:
        for step in cfg.test_dataloader.dataset.pipeline:
            step.type = step.type.removeprefix('mmpretrain.')
    assert fast.test_dataloader.dataset == slow.test_dataloader.dataset
