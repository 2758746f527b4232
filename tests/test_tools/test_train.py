"""Training through tools/train.py and tools/dist_train.sh."""

import json
import sys
from pathlib import Path

import pytest
import torch
from run import DIGITS, QUICK, RECIPES, exits, failed, run, succeeded, tool

from mmrazor_byot.datasets.packed_images import pack_images


def weights(work_dir, epoch):
    checkpoint = torch.load(work_dir / f'epoch_{epoch}.pth', weights_only=False)
    return checkpoint['state_dict']


@pytest.mark.parametrize(
    'loader',
    [
        (),
        (
            'train_dataloader.num_workers=2',
            'train_dataloader.worker_init_fn.type=mmrazor_byot.seed_worker',
        ),
    ],
    ids=['main process', 'two workers'],
)
def test_resuming_changes_nothing(tmp_path, loader):
    options = ('--cfg-options', *QUICK, *loader)
    whole, broken = tmp_path / 'whole', tmp_path / 'broken'
    succeeded(
        tool(
            'train.py',
            DIGITS,
            '--work-dir',
            whole,
            '--no-validate',
            *options,
            'train_cfg.max_epochs=3',
        )
    )
    for epochs in (2, 3):
        succeeded(
            tool(
                'train.py',
                DIGITS,
                '--work-dir',
                broken,
                '--resume',
                '--no-validate',
                *options,
                f'train_cfg.max_epochs={epochs}',
            )
        )
    expected = weights(whole, 3)
    for name, value in weights(broken, 3).items():
        assert torch.equal(value, expected[name]), name
    assert not torch.equal(
        weights(whole, 2)['exit_heads.0.fc.weight'], expected['exit_heads.0.fc.weight']
    )


def test_two_processes_train_and_the_table_is_printed(tmp_path):
    text = succeeded(
        tool(
            'dist_train.sh',
            DIGITS,
            '2',
            '--work-dir',
            tmp_path / 'a b',
            '--cfg-options',
            *QUICK,
            'train_cfg.max_epochs=1',
            PORT='29611',
        )
    )
    assert 'Distributed training: True' in text
    assert 'GPU number: 2' in text  # MMEngine's word for processes
    assert '| exit       |' in text and 'ensemble/top1' in text
    rows = exits(tmp_path / 'a b')
    assert [r['exit'] for r in rows] == ['1/4', '2/4', '3/4', '4/4', 'ensemble']
    assert all(0 <= r['top1'] <= r['top5'] <= 100 for r in rows)


def test_plain_and_deep_supervision_twins(tmp_path):
    for name, count in (('plain', 1), ('deep-supervision', 5)):
        config = RECIPES / f'{name}_resnet18_2xb64_digits.py'
        options = list(QUICK)
        if name == 'plain':
            options = [o.replace('model.architecture', 'model') for o in QUICK]
            options.append('model.head.in_channels=32')
        text = succeeded(
            tool(
                'train.py',
                config,
                '--work-dir',
                tmp_path / name,
                '--cfg-options',
                *options,
                'train_cfg.max_epochs=1',
            )
        )
        assert len(exits(tmp_path / name)) == count
        assert 'logit_loss:' not in text and 'hint_loss:' not in text
        assert 'loss: ' in text


def test_mmpretrains_own_tool_trains_our_recipe_alike(tmp_path):
    import mmpretrain

    script = Path(mmpretrain.__file__).parent / '.mim/tools/train.py'
    options = '--cfg-options', *QUICK, 'train_cfg.max_epochs=1', 'default_hooks.logger.interval=1'
    theirs, ours = tmp_path / 'theirs', tmp_path / 'ours'
    succeeded(run(sys.executable, script, DIGITS, '--work-dir', theirs, *options))
    succeeded(tool('train.py', DIGITS, '--work-dir', ours, *options))
    logs = []
    for folder in (theirs, ours):
        (log,) = folder.glob('*/vis_data/scalars.json')
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        logs.append([{k: v for k, v in line.items() if 'time' not in k} for line in lines])
    assert logs[0] == logs[1] and logs[0][0]['loss'] > logs[0][14]['loss']
    assert exits(theirs) == exits(ours)
    for name, value in weights(theirs, 1).items():
        assert torch.equal(value, weights(ours, 1)[name]), name


def test_every_switch_trains_and_resumes(tmp_path):
    """In bfloat16, in NHWC, compiled, with an average and clipping."""
    options = [
        'model.architecture.backbone.base_channels=16',
        'model.architecture.backbone.stem_channels=16',
        'default_hooks.checkpoint.interval=1',
        'channels_last=True',
        'compile.backend=eager',
        'optim_wrapper.clip_grad.max_norm=5',
        'optim_wrapper.dtype=bfloat16',
        'train_dataloader.dataset.indices=128',
        # in the place of SyncBuffersHook
        'custom_hooks.7.ema_type=mmrazor_byot.ExponentialMovingAverage',
        'custom_hooks.7.type=EMAHook',
    ]
    for epochs in (1, 2):
        text = succeeded(
            tool(
                'train.py',
                DIGITS,
                '--work-dir',
                tmp_path,
                '--amp',
                '--resume',
                '--no-validate',
                '--cfg-options',
                *options,
                f'train_cfg.max_epochs={epochs}',
            )
        )
    assert 'resumed epoch: 1' in text
    assert not [k for k in weights(tmp_path, 2) if '_orig_mod' in k]
    config = next(tmp_path.glob('*.py')).read_text()
    assert "type='mmrazor_byot.AmpOptimWrapper'" in config
    assert 'channels_last = True' in config


def test_auto_scale_lr(tmp_path):
    text = succeeded(
        tool(
            'train.py',
            DIGITS,
            '--work-dir',
            tmp_path,
            '--auto-scale-lr',
            '--no-validate',
            '--cfg-options',
            *QUICK,
            'train_cfg.max_epochs=1',
        )
    )
    assert (
        'batch size of 128 and the current batch size is 64. Scaling the original LR by 0.5.'
    ) in text


@pytest.mark.parametrize(
    'arguments, message',
    [
        (['nowhere.py'], 'config "nowhere.py" does not exist'),
        (
            [DIGITS, '--cfg-options', 'channels_last=True'],
            'channels_last: on a CPU, torch overwrites memory in 1 x 1 convolutions',
        ),
        (
            [DIGITS, '--cfg-options', 'compile=True'],
            'compile: on a CPU, torch overwrites memory in 1 x 1 convolutions',
        ),
        (
            [DIGITS, '--amp', '--cfg-options', 'optim_wrapper.dtype=float32'],
            "AmpOptimWrapper(dtype='float32'): choose from",
        ),
        ([DIGITS, '--resume', 'lost.pth'], 'checkpoint "lost.pth" does not exist'),
        ([DIGITS, '--cfg-options', 'model.sections=(0,1,2,3,4)'], 'sections may not fit'),
        (
            [DIGITS, '--cfg-options', 'model.architecture.head.num_classes=12'],
            'the head has 12 classes, but the dataset of train_dataloader has 10',
        ),
        (
            [DIGITS, '--cfg-options', 'model.logit_loss.temperature=-3'],
            'temperature must be a positive number',
        ),
        ([DIGITS, '--cfg-options', 'model.hint_loss.loss_weight=-1'], 'HintLoss(loss_weight=-1)'),
        ([RECIPES / 'byot_resnet18_8xb16_tin32.py'], 'data file "data/tin32.npz" does not exist'),
    ],
)
def test_bad_input_is_one_line(tmp_path, arguments, message):
    if torch.cuda.is_available() and 'on a CPU' in message:
        pytest.skip('there is a GPU')
    done = tool(
        'train.py', *arguments[:1], '--work-dir', tmp_path, *arguments[1:], TIN32='data/tin32.npz'
    )
    assert message in failed(done)


def test_missing_data_ends_all_ranks(tmp_path):
    config = RECIPES / 'byot_logits_resnet18_cifar100_8xb16_in1k.py'
    root = tmp_path / 'cifar'
    done = tool(
        'dist_train.sh',
        config,
        '2',
        '--work-dir',
        tmp_path,
        '--cfg-options',
        f'train_dataloader.dataset.data_root={root}',
        'train_dataloader.dataset.download=False',
        PORT='29612',
        timeout=120,
    )
    line = failed(done)
    assert f'CIFAR100 is not complete in {root}' in line
    assert 'cifar-100-python.tar.gz (md5 eb9058c3a382ffc7106e4002c42a8d85)' in line


def test_packed_images_train_on_two_processes(tmp_path):
    import cv2
    import numpy as np

    random = np.random.default_rng(0)
    files, labels = [], []
    for label in range(20):  # each class a colour of its own, and noise
        colour = random.integers(0, 256, 3)
        for _ in range(12):
            image = random.normal(colour, 20, (32, 32, 3)).clip(0, 255)
            files.append(cv2.imencode('.png', image)[1].tobytes())
            labels.append(label)
    path = tmp_path / 'packed.npz'
    pack_images(path, [str(i) for i in range(20)], train=(files, labels), test=(files, labels))
    text = succeeded(
        tool(
            'dist_train.sh',
            RECIPES / 'byot_resnet18_2xb64_tin32-small.py',
            '2',
            '--work-dir',
            tmp_path,
            '--cfg-options',
            *QUICK,
            'train_cfg.max_epochs=2',
            'train_dataloader.batch_size=16',
            'default_hooks.logger.interval=1',
            TIN32=str(path),
            PORT='29613',
        )
    )
    losses = [
        float(line.split('loss: ')[1].split()[0])
        for line in text.splitlines()
        if 'Epoch(train)' in line
    ]
    assert len(losses) == 16  # 240 images, 2 x 16 a step, 2 epochs
    assert sum(losses[-4:]) < sum(losses[:4])
