"""What a run is resumed from, and its schedules with another batch size."""

import itertools
import math
from pathlib import Path

import pytest
import torch
from mmengine.hooks import EMAHook, Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from run import log
from torch import nn

from mmrazor_byot.engine.resume import newest_checkpoint
from mmrazor_byot.errors import CheckpointError

NUMBERS = itertools.count()
EPOCHS, IMAGES = 6, 96
SAVING = dict(type='mmrazor_byot.ResumableCheckpointHook', interval=1)


class Weights(BaseModel):
    """Two weights, of two groups of the optimizer."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Parameter(torch.ones(())), nn.Parameter(torch.ones(()))

    def forward(self, inputs, mode='loss', **kwargs):
        if mode == 'loss':
            return dict(loss=self.first**2 + self.second**2)
        return [{}]


class Rates(Hook):
    """Notes the learning rates of each iteration, by epoch."""

    def __init__(self):
        self.found = {}

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        groups = runner.optim_wrapper.param_groups
        self.found.setdefault(runner.epoch, []).append([group['lr'] for group in groups])


def train(
    work_dir, batch, schedule, epochs=EPOCHS, scale=False, hooks=(), lr=0.1, **changes
) -> dict:
    """Learning rates of the epochs, by epoch."""
    data = [dict(inputs=torch.zeros(1))] * IMAGES
    rates = Rates()
    Runner(
        Weights(),
        str(work_dir),
        train_dataloader=dict(dataset=data, sampler=dict(type='DefaultSampler'), batch_size=batch),
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        optim_wrapper=dict(
            optimizer=dict(type='SGD', lr=lr),
            paramwise_cfg=dict(custom_keys=dict(second=dict(lr_mult=2))),
        ),
        param_scheduler=schedule,
        auto_scale_lr=dict(base_batch_size=16, enable=scale),
        custom_hooks=[rates, *hooks],
        experiment_name=f'test_resume_{next(NUMBERS)}',
        default_scope='mmengine',
        **(dict(default_hooks=dict(checkpoint=SAVING), log_level='ERROR') | changes),
    ).train()
    return rates.found


def resume(run) -> dict:
    """Go on after three epochs."""
    return dict(load_from=str(run / 'epoch_3.pth'), resume=True)


CONVERTED = dict(by_epoch=True, convert_to_iter_based=True)
COSINE = dict(type='CosineAnnealingLR', T_max=EPOCHS, **CONVERTED)
SCHEDULES = dict(
    cosine=COSINE,
    warm_up=[
        dict(type='LinearLR', start_factor=0.1, end=2, **CONVERTED),
        dict(type='CosineAnnealingLR', begin=2, end=EPOCHS, **CONVERTED),
    ],
    steps=dict(type='MultiStepLR', milestones=[1, 4], **CONVERTED),
    one_cycle=dict(type='OneCycleLR', eta_max=0.3, total_steps=EPOCHS, **CONVERTED),
    to_the_end=dict(type='PolyLR', by_epoch=False, power=0.9, eta_min=1e-3),
    mixed=[
        dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=9),
        dict(type='MultiStepLR', milestones=[2, 4]),
    ],
    by_epoch=dict(type='ExponentialLR', gamma=0.5),
    none=None,
)


@pytest.mark.parametrize('schedule', SCHEDULES)
def test_another_batch_size(tmp_path, schedule):
    """The learning rates are those of a run that had the batch size from the start."""
    schedule = SCHEDULES[schedule]
    train(tmp_path / 'run', 16, schedule)
    for batch, scale in ((36, False), (8, True)):
        settings = dict(batch=batch, schedule=schedule, scale=scale)
        found = train(tmp_path / f'resumed_{batch}', **settings, **resume(tmp_path / 'run'))
        expected = train(tmp_path / f'whole_{batch}', **settings)
        assert list(found) == [3, 4, 5]
        assert found == {epoch: expected[epoch] for epoch in found}


@pytest.mark.parametrize('batch', [8, 32])
def test_a_cosine_ends_where_it_should(tmp_path, batch):
    train(tmp_path / 'run', 16, COSINE)
    found = train(tmp_path / 'resumed', batch, COSINE, **resume(tmp_path / 'run'))
    for epoch in (3, 4, 5):
        rate = 0.1 * (1 + math.cos(math.pi * epoch / EPOCHS)) / 2
        assert found[epoch][0] == pytest.approx([rate, 2 * rate, rate])  # the last is the log's
        assert len(found[epoch]) == IMAGES / batch


def test_a_checkpoint_within_an_epoch(tmp_path):
    """Its epoch is trained again, so the schedule goes back to its start."""
    saving = dict(type=SAVING['type'], by_epoch=False, interval=4)
    expected = train(tmp_path / 'run', 16, COSINE, default_hooks=dict(checkpoint=saving))
    half = dict(load_from=str(tmp_path / 'run/iter_20.pth'), resume=True)
    found = train(tmp_path / 'resumed', 16, COSINE, **half)
    assert list(found) == [3, 4, 5]
    assert found == {epoch: expected[epoch] for epoch in found}


def test_the_steps_of_a_moving_average(tmp_path):
    averages = [EMAHook(), EMAHook()]
    train(tmp_path / 'run', 16, COSINE, hooks=averages[:1])
    train(tmp_path / 'resumed', 32, COSINE, hooks=averages[1:], **resume(tmp_path / 'run'))
    assert [int(hook.ema_model.steps) for hook in averages] == [36, 18]


PLATEAU = dict(type='ReduceOnPlateauLR', monitor='loss')


def test_schedules_by_metrics(tmp_path):
    """In epochs they need no change; mixed with those in iterations they are refused."""
    train(tmp_path / 'run', 16, PLATEAU)
    found = train(tmp_path / 'resumed', 32, PLATEAU, **resume(tmp_path / 'run'))
    assert {epoch: len(rates) for epoch, rates in found.items()} == {3: 3, 4: 3, 5: 3}
    train(tmp_path / 'mixed', 16, [COSINE, PLATEAU])
    message = '18 iterations in 3 epochs, and this run makes 3 an epoch'
    with pytest.raises(CheckpointError, match=message):
        train(tmp_path / 'refused', 32, [COSINE, PLATEAU], **resume(tmp_path / 'mixed'))


@pytest.mark.parametrize('schedule, depends', [('steps', True), ('one_cycle', False)])
def test_other_schedules_are_said_to_have_no_effect(tmp_path, schedule, depends):
    """If they depend on the learning rate, here the setting that is another."""
    first = train(tmp_path / 'run', 16, SCHEDULES[schedule])
    settings = dict(schedule=SCHEDULES[schedule], log_level='INFO', **resume(tmp_path / 'run'))
    train(tmp_path / 'same', 16, **settings)
    other = train(tmp_path / 'other', 16, lr=0.2, **settings)
    assert other[3] == first[3]
    said = 'the schedules go on as in the checkpoint; the config has others'
    assert said not in log(tmp_path / 'same')
    assert (said in log(tmp_path / 'other')) == depends


def write(path, time=0, epoch=1, **parts) -> None:
    meta = dict(time=f'20260101_{time:06}', epoch=epoch, iter=10 * epoch)
    torch.save(dict(dict(meta=meta, message_hub={}, optimizer={}, state_dict={}), **parts), path)


@pytest.fixture
def run(tmp_path):
    """Folder with five checkpoints, the best, and a pointer to the last."""
    folder = tmp_path / 'run'
    folder.mkdir()
    for epoch in (10, 3, 8, 9, 1):  # not in the order of the alphabet, nor of their time
        write(folder / f'epoch_{epoch}.pth', epoch, epoch)
    torch.save(dict(state_dict={}), folder / 'best_epoch_9.pth')
    (folder / 'last_checkpoint').write_text(str(folder / 'epoch_10.pth'))
    return folder


def cut(path) -> None:
    path.write_bytes(path.read_bytes()[:-300])


def chosen(folder, *others) -> tuple:
    """The name of the file, and the notes on others."""
    path, why = newest_checkpoint(str(folder), *map(str, others))
    first, *notes = why.split('; ')
    assert first == 'the newest checkpoint that can be resumed'
    return Path(path).name, notes


def test_the_newest(run):
    assert chosen(run) == ('epoch_10.pth', [])


def test_the_pointer_is_of_no_consequence(run):
    pointer = run / 'last_checkpoint'
    pointer.write_text('')
    assert chosen(run) == ('epoch_10.pth', [f'{pointer} is empty'])
    pointer.write_text(str(run / 'epoch_3.pth'))  # killed before it was written
    assert chosen(run) == ('epoch_10.pth', [])
    pointer.write_text('/elsewhere/epoch_10.pth')  # the folder was moved
    assert chosen(run) == ('epoch_10.pth', ['/elsewhere/epoch_10.pth does not exist'])
    for junk in (b'\xff\0', b'\0' * 40, b'a' * 5000):
        pointer.write_bytes(junk)
        assert chosen(run)[0] == 'epoch_10.pth'
    pointer.unlink()
    assert chosen(run) == ('epoch_10.pth', [])


def test_what_does_not_load_is_passed_over(run):
    cut(run / 'epoch_10.pth')
    (run / 'epoch_9.pth').write_bytes(b'')
    write(run / 'epoch_8.pth', 8, 8, meta=Path('a'))  # runs code
    name, notes = chosen(run)
    assert name == 'epoch_3.pth'
    assert sorted(note.split()[0] for note in notes) == [
        str(run / f'epoch_{epoch}.pth') for epoch in (10, 8, 9)
    ]


def test_times_say_what_is_new(run):
    """An earlier run in the folder had more epochs; a copy has other times of files."""
    write(run / 'epoch_2.pth', time=20, epoch=2)
    write(run / 'epoch_4.pth', time=20, epoch=4)
    copy = run.parent / 'copy'
    copy.mkdir()
    for name in ('epoch_4.pth', 'epoch_2.pth', 'epoch_10.pth', 'best_epoch_9.pth'):
        (copy / name).write_bytes((run / name).read_bytes())
    assert chosen(run)[0] == chosen(copy)[0] == 'epoch_4.pth'


def test_checkpoints_in_another_folder(run, tmp_path):
    work_dir = tmp_path / 'work'
    work_dir.mkdir()
    assert chosen(work_dir, run) == ('epoch_10.pth', [])
    (work_dir / 'last_checkpoint').write_text(str(run / 'epoch_9.pth'))
    assert chosen(work_dir) == ('epoch_9.pth', [])
    (work_dir / 'last_checkpoint').write_text('s3://bucket/epoch_9.pth')
    assert newest_checkpoint(str(work_dir))[0] == 's3://bucket/epoch_9.pth'


def test_a_folder_without_a_run_starts_anew(tmp_path):
    (tmp_path / '20260101_000000').mkdir()  # killed in its first epoch
    (tmp_path / 'config.py').touch()
    assert newest_checkpoint(str(tmp_path)) == (None, f'no checkpoint in {tmp_path}')
    assert newest_checkpoint(str(tmp_path / 'none'))[0] is None


@pytest.mark.parametrize('left', ['pointer', 'empty pointer', 'truncated', 'weights'])
def test_a_folder_without_a_good_checkpoint_is_refused(tmp_path, left):
    pointer, path = tmp_path / 'last_checkpoint', tmp_path / 'epoch_5.pth'
    if left == 'truncated':
        write(path)
        cut(path)
    elif left == 'weights':
        torch.save(dict(state_dict={}), path)
    else:
        pointer.write_text('' if left == 'empty pointer' else str(path))
    with pytest.raises(CheckpointError) as error:
        newest_checkpoint(str(tmp_path))
    reason = {
        'pointer': f'{path} does not exist',
        'empty pointer': f'{pointer} is empty',
        'truncated': f'{path} is truncated, or has no training state',
        'weights': f'{path} is truncated, or has no training state',
    }
    assert reason[left] in str(error.value)
    assert str(error.value).endswith('give another folder by --work-dir')


def test_starting_anew_keeps_load_from(tmp_path):
    """In a folder without a run; afterwards its checkpoint is what counts."""
    train(tmp_path / 'pretraining', 16, None)
    anew = dict(load_from=str(tmp_path / 'pretraining/epoch_6.pth'), resume='auto')
    assert list(train(tmp_path / 'run', 16, None, epochs=2, **anew)) == [0, 1]
    assert list(train(tmp_path / 'run', 16, None, epochs=4, **anew)) == [2, 3]
    first = [
        float(torch.load(tmp_path / f'{name}.pth', weights_only=False)['state_dict']['first'])
        for name in ('pretraining/epoch_6', 'run/epoch_1', 'run/epoch_3')
    ]
    # Each iteration multiplies the weight by 1 - 2 x 0.1.
    assert first == pytest.approx([0.8**36, 0.8 ** (36 + 6), 0.8 ** (36 + 18)])
