"""Training through tools/train.py and tools/dist_train.sh."""

import json
import sys
from pathlib import Path

import cv2
import mmpretrain
import numpy as np
import pytest
import torch
from run import (
    DIGITS,
    NARROW,
    QUICK,
    RECIPES,
    ROOT,
    exits,
    failed,
    free_port,
    log,
    run,
    script,
    succeeded,
    tool,
)

from mmrazor_byot.datasets.packed_images import pack_images

FAST = RECIPES / 'byot_resnet18-fast_2xb64_digits.py'
SEEDED = 'worker_init_fn.type=mmrazor_byot.seed_worker'


def train(work_dir, *flags, epochs=1, options=QUICK, recipe=DIGITS) -> str:
    """Train for a few epochs of 4 iterations; what is printed."""
    short = 'train_dataloader.dataset.indices=256', f'train_cfg.max_epochs={epochs}'
    words = recipe, '--work-dir', work_dir, *flags, '--cfg-options', *options, *short
    return succeeded(tool('train.py', *words))


def weights(work_dir, epoch):
    checkpoint = torch.load(work_dir / f'epoch_{epoch}.pth', weights_only=False)
    return checkpoint['state_dict']


def losses(work_dir) -> list:
    """Of every iteration logged."""
    lines = [line for line in log(work_dir).splitlines() if 'Epoch(train)' in line]
    return [float(line.split(' loss: ')[1].split()[0]) for line in lines]


def check_training(text, rows, least):
    """The table of exits is printed and kept; the deepest reaches an accuracy."""
    assert [row['exit'] for row in rows] == ['1/4', '2/4', '3/4', '4/4', 'ensemble']
    assert all(0 <= row['top1'] <= row['top5'] <= 100 for row in rows)
    assert rows[3]['top1'] >= least and rows[4]['top1'] >= least
    (line,) = [line for line in text.splitlines() if line.startswith('| top-1 (%) ')]
    assert [float(x) for x in line.split('|')[2:-1]] == [round(row['top1'], 2) for row in rows]


def test_two_processes_learn_and_the_table_is_printed(trained):
    text = (trained / 'printed.txt').read_text()
    assert 'GPU number: 2' in log(trained)  # MMEngine's word for processes
    check_training(text, exits(trained), least=90)
    assert (trained / 'last_checkpoint').read_text().endswith('epoch_8.pth')


def test_what_is_printed(trained):
    """What is trained, on what, where the log is; a row of accuracies; what to do next."""
    lines = (trained / 'printed.txt').read_text().splitlines()
    assert [line[:5] for line in lines].index('epoch') < 15
    assert lines[0] == 'BYOT: ResNet_CIFAR, 4 exits, 0.192 M parameters'
    assert '962 training images in batches of 2 x 16, epochs 1 to 8' in lines[1]
    assert Path(lines[2].removeprefix('log: ')).parent == trained
    (row,) = [line for line in lines if line.startswith('epoch 8/8 ')]
    assert [float(x) for x in row.split()[2:]] == [round(r['top1'], 2) for r in exits(trained)]
    assert lines[-2] == f'checkpoint: {trained}/epoch_8.pth'
    recipe = DIGITS.relative_to(ROOT)
    assert lines[-1] == f'test it: python tools/test.py {recipe} {trained}/epoch_8.pth'


def test_a_cell_of_a_notebook(tmp_path):
    """MMEngine's Runner alone prints as much as the tools, and its log has the rest."""
    cell = tmp_path / 'cell.py'
    cell.write_text(f"""
from mmengine.config import Config
from mmengine.runner import Runner

cfg = Config.fromfile('{DIGITS}')
cfg.merge_from_dict({NARROW | {'train_cfg.max_epochs': 2, 'train_cfg.val_interval': 1}})
cfg.merge_from_dict({{'train_dataloader.dataset.indices': 64, 'work_dir': '{tmp_path}'}})
Runner.from_cfg(cfg).train()
""")
    lines = succeeded(script(cell, fresh=True)).splitlines()
    assert [line[:7] for line in lines].index('epoch 1') < 15
    assert sum(not line.startswith('|') for line in lines) <= 15 and len(lines) <= 25
    assert 'System environment' in log(tmp_path) and 'exit_heads.0' in log(tmp_path)


@pytest.mark.slow
def test_the_readmes_command_reaches_its_accuracy(tmp_path):
    text = succeeded(tool('dist_train.sh', DIGITS, '2', '--work-dir', tmp_path / 'a b'))
    check_training(text, exits(tmp_path / 'a b'), least=98)


@pytest.mark.parametrize('workers', [(), ('num_workers=2', SEEDED)], ids=['none', 'two'])
def test_resuming_changes_nothing(tmp_path, workers):
    whole, broken = tmp_path / 'whole', tmp_path / 'broken'
    options = *QUICK, *(f'train_dataloader.{option}' for option in workers)
    train(whole, '--no-validate', epochs=3, options=options)
    resume = '--resume', whole / 'epoch_2.pth'
    train(broken, '--no-validate', *resume, epochs=3, options=options)
    before, expected = weights(whole, 2), weights(whole, 3)
    for name, value in weights(broken, 3).items():
        assert torch.equal(value, expected[name]), name
    assert not torch.equal(before['exit_heads.0.fc.weight'], expected['exit_heads.0.fc.weight'])


def test_resuming_on_two_processes(tmp_path):
    """From one, with MMEngine's hook in the config: the schedule is that of two from the start."""
    options = (
        *QUICK,
        'default_hooks.checkpoint.type=CheckpointHook',
        'default_hooks.logger.interval=1',
        'train_dataloader.dataset.indices=256',
        'train_cfg.max_epochs=3',
        'param_scheduler.1.end=6',
    )
    one, two = tmp_path / 'one', tmp_path / 'two'
    words = DIGITS, '--no-validate', '--work-dir'
    succeeded(tool('train.py', *words, one, '--cfg-options', *options))
    words = '--launcher', 'pytorch', *words
    whole = tool('train.py', *words, two, '--cfg-options', *options, ranks=2)
    resume = one, '--resume', one / 'epoch_2.pth', '--cfg-options', *options
    text = succeeded(tool('train.py', *words, *resume, ranks=2))
    assert text.count('the checkpoint has 8 iterations in 2 epochs, and this run makes 2 an ') == 1
    assert "type='mmrazor_byot.ResumableCheckpointHook'" in max(one.glob('*.py')).read_text()
    found, expected = (
        [line.split(' lr: ')[1].split()[0] for line in log(folder).splitlines() if ' lr: ' in line]
        for folder in (one, two)
    )
    assert succeeded(whole) and len(found) == 2 and found == expected[4:]


@pytest.mark.parametrize('name, count', [('plain', 1), ('deep-supervision', 5)])
def test_plain_and_deep_supervision_twins(tmp_path, name, count):
    options = QUICK
    if name == 'plain':
        options = [option.replace('model.architecture', 'model') for option in QUICK]
        options.append('model.head.in_channels=32')
    train(tmp_path, options=options, recipe=RECIPES / f'{name}_resnet18_2xb64_digits.py')
    text = log(tmp_path)
    assert len(exits(tmp_path)) == count
    assert 'logit_loss:' not in text and 'hint_loss:' not in text
    assert 'loss: ' in text


def test_mmpretrains_own_tool_trains_our_recipe_alike(tmp_path):
    path = Path(mmpretrain.__file__).parent / '.mim/tools/train.py'
    options = '--cfg-options', *QUICK, 'train_cfg.max_epochs=1', 'default_hooks.logger.interval=1'
    theirs, ours = tmp_path / 'theirs', tmp_path / 'ours'
    succeeded(script(path, DIGITS, '--work-dir', theirs, *options, fresh=True))
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
    """In bfloat16, in NHWC, compiled, with an average and clipping, at a scaled learning rate."""
    options = [
        *(option.replace('channels=4', 'channels=16') for option in QUICK),
        'channels_last=True',
        'compile.backend=eager',
        'optim_wrapper.clip_grad.max_norm=5',
        'optim_wrapper.dtype=bfloat16',
        # in the place of SyncBuffersHook
        'custom_hooks.7.ema_type=mmrazor_byot.ExponentialMovingAverage',
        'custom_hooks.7.type=EMAHook',
    ]
    flags = '--amp', '--resume', '--no-validate', '--auto-scale-lr'
    first, second = (
        train(tmp_path, *flags, epochs=epochs, options=options).splitlines() for epochs in (1, 2)
    )
    assert f'starting anew: no checkpoint in {tmp_path}' in first
    newest = 'the newest checkpoint that can be resumed'
    assert f'resuming from {tmp_path}/epoch_1.pth, {newest}' in second
    text = log(tmp_path)
    assert 'resumed epoch: 1' in text
    assert 'current batch size is 64. Scaling the original LR by 0.5.' in text
    assert not [k for k in weights(tmp_path, 2) if '_orig_mod' in k]
    config = next(tmp_path.glob('*.py')).read_text()
    assert "type='mmrazor_byot.AmpOptimWrapper'" in config
    assert 'channels_last = True' in config


OVERWRITES = 'on a CPU, torch overwrites memory in 1 x 1 convolutions'


@pytest.mark.parametrize(
    'option, message',
    [
        ('channels_last=True', f'channels_last: {OVERWRITES}'),
        ('compile=True', f'compile: {OVERWRITES}'),
        ('optim_wrapper.dtype=float32', "AmpOptimWrapper(dtype='float32'): choose from"),
        ('model.sections=(0,1,2,3,4)', 'sections may not fit'),
        (
            'model.architecture.head.num_classes=12',
            'head has 12 classes, but the data of train_dataloader have 10: ',
        ),
        ('model.logit_loss.temperature=-3', 'temperature must be a positive number'),
        ('model.hint_loss.loss_weight=-1', 'HintLoss(loss_weight=-1)'),
        (
            'default_hooks.checkpoint.intervall=5',
            'default_hooks.checkpoint: mmrazor_byot.ResumableCheckpointHook: it has no argument '
            'intervall; is interval meant?',
        ),
        ('default_hooks.visualization.intervall=5', 'default_hooks.visualization: got an unexp'),
    ],
)
def test_a_bad_option_is_one_line(tmp_path, option, message):
    if torch.cuda.is_available() and OVERWRITES in message:
        pytest.skip('there is a GPU')
    amp = ['--amp'] if 'dtype' in option else []
    words = DIGITS, *amp, '--work-dir', tmp_path, '--cfg-options', option
    assert message in failed(tool('train.py', *words))


@pytest.mark.parametrize(
    'arguments, message',
    [
        (['nowhere.py'], 'config "nowhere.py" does not exist'),
        ([DIGITS, '--resume', 'lost.pth'], 'checkpoint "lost.pth" does not exist'),
        ([RECIPES / 'byot_resnet18_8xb16_tin32.py'], 'data file "data/tin32.npz" does not exist'),
        (
            [FAST, '--cfg-options', 'train_dataloader.collate_fn.type=default_collate'],
            'set collate_fn=',
        ),
    ],
)
def test_bad_input_is_one_line(tmp_path, arguments, message):
    done = tool('train.py', *arguments, '--work-dir', tmp_path, TIN32='data/tin32.npz')
    assert message in failed(done)


def test_missing_data_ends_all_ranks(tmp_path):
    root = tmp_path / 'cifar'
    words = RECIPES / 'byot_logits_resnet18_cifar100_8xb16_in1k.py', '2', '--work-dir', tmp_path
    changes = f'data_root={root}', 'download=False'
    options = [f'train_dataloader.dataset.{change}' for change in changes]
    line = failed(tool('dist_train.sh', *words, '--cfg-options', *options, timeout=120))
    assert f'CIFAR100 is not complete in {root}' in line
    assert 'cifar-100-python.tar.gz (md5 eb9058c3a382ffc7106e4002c42a8d85)' in line


@pytest.mark.slow
def test_broken_image_ends_all_ranks(tmp_path):
    """Its path is said once, though a worker of one of two processes has met it."""
    for i in range(8):
        path = tmp_path / f'images/{"ab"[i % 2]}/{i}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b'' if i == 5 else cv2.imencode('.png', np.zeros((32, 32, 3)))[1])
    (tmp_path / 'config.py').write_text(f"""
_base_ = {str(DIGITS)!r}
model = dict(architecture=dict(head=dict(num_classes=2)))
pipeline = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]
dataset = dict(type='CustomDataset', data_prefix={str(tmp_path / 'images')!r}, pipeline=pipeline)
train_dataloader = dict(_delete_=True, batch_size=2, num_workers=1, dataset=dataset,
                        sampler=dict(type='DefaultSampler', shuffle=True))
""")
    words = tmp_path / 'config.py', '2', '--no-validate', '--work-dir', tmp_path / 'run'
    line = failed(tool('dist_train.sh', *words, timeout=120))
    assert line == (
        f'error: image "{tmp_path}/images/b/5.png" cannot be read: it is empty, damaged or not an '
        'image; replace or remove it'
    )


@pytest.mark.slow
def test_torchrun_that_restarts_says_it_once():
    words = '--nproc-per-node=2', '--max-restarts=2', f'--master-port={free_port()}'
    command = *words, ROOT / 'tools/train.py', 'nowhere.py', '--launcher', 'pytorch'
    done = run(sys.executable, '-m', 'torch.distributed.run', *command)
    assert done.returncode == 1
    assert done.stderr.count('config "nowhere.py" does not exist') == 1


def two_processes(recipe, work_dir, *options, **env) -> list:
    """Train on two processes; the loss of every iteration."""
    flags = '--launcher', 'pytorch', '--work-dir', work_dir
    options = '--cfg-options', 'default_hooks.logger.interval=1', *options
    succeeded(tool('train.py', recipe, *flags, *options, ranks=2, **env))
    return losses(work_dir)


def test_batched_data_train_on_two_processes(tmp_path):
    found = two_processes(
        FAST,
        tmp_path,
        'train_cfg.max_epochs=8',
        'train_cfg.val_interval=8',
        'train_dataloader.dataset.samples_per_class=40',
        'train_dataloader.batch_size=20',
        'param_scheduler=None',
        'optim_wrapper.optimizer.lr=0.1',
    )
    assert len(found) == 80  # 400 images, 2 x 20 a step, 8 epochs
    assert sum(found[-5:]) < 0.8 * sum(found[:5])
    assert len(exits(tmp_path)) == 5


def test_packed_images_train_on_two_processes(tmp_path):
    random = np.random.default_rng(0)
    labels = [label for label in range(20) for _ in range(12)]
    colors = random.integers(0, 256, (20, 3))  # each class its own, and noise
    images = [random.normal(colors[i], 20, (32, 32, 3)).clip(0, 255) for i in labels]
    files = [cv2.imencode('.png', image)[1].tobytes() for image in images]
    path = tmp_path / 'packed.npz'
    pack_images(path, [str(i) for i in range(20)], train=(files, labels), test=(files, labels))
    recipe = RECIPES / 'byot_resnet18_2xb64_tin32-small.py'
    options = *QUICK, 'train_cfg.max_epochs=2', 'train_dataloader.batch_size=16'
    found = two_processes(recipe, tmp_path, *options, TIN32=str(path))
    assert len(found) == 16  # 240 images, 2 x 16 a step, 2 epochs
    assert sum(found[-4:]) < sum(found[:4])
