"""Find the checkpoint to resume from, and fit its schedules to this run."""

import os
from itertools import chain
from pathlib import Path
from typing import Optional, Tuple

import torch
from mmengine.hooks import EMAHook, ParamSchedulerHook
from mmengine.runner import EpochBasedTrainLoop, Runner

from mmrazor_byot.errors import CheckpointError

POINTER = 'last_checkpoint'
PLATEAU_STATE = ('best', 'cooldown_counter', 'num_bad_epochs')


def newest_checkpoint(work_dir: str, *folders: str) -> Tuple[Optional[str], str]:
    """Find the checkpoint that a run wrote last, of those that load.

    MMEngine trusts ``last_checkpoint``, which may be empty, or name a file that is gone, truncated
    or not the last. When they were written is read from the files: copying changes their times, and
    an earlier run may have left higher epochs.

    Args:
        work_dir (str): The folder of the run.
        *folders (str): Others that may have its checkpoints.

    Returns:
        Tuple[Optional[str], str]: The path, or None in a folder without checkpoints, and why.

    Raises:
        CheckpointError: There are checkpoints, but none from which a run can be resumed.
    """
    paths = [path for folder in (work_dir, *folders) for path in sorted(Path(folder).glob('*.pth'))]
    paths = [path for path in paths if not path.name.startswith('best_')]  # weights alone
    pointer, found, faults = Path(work_dir, POINTER), [], []
    if pointer.is_file():  # a crash of the machine can fill it with zeros
        named = pointer.read_text(errors='replace').replace('\0', '').strip()
        if '://' in named:
            return named, f'named by {pointer}'
        if not named:
            faults.append(f'{pointer} is empty')
        elif Path(named).resolve() not in [path.resolve() for path in paths]:
            paths.append(Path(named))
    for path in paths:
        try:  # mmap: its weights are not read
            checkpoint = torch.load(path, map_location='cpu', mmap=True, weights_only=True)
            meta, _, _ = (checkpoint[key] for key in ('meta', 'optimizer', 'message_hub'))
            found.append((meta['time'], meta['epoch'], meta['iter'], str(path)))
        except Exception:  # a truncated file can raise anything
            what = 'is truncated, or has no training state'
            faults.append(f'{path} {what if os.path.exists(path) else "does not exist"}')
    if found:
        return max(found)[-1], '; '.join(['the newest checkpoint that can be resumed', *faults])
    if not faults:
        return None, f'no checkpoint in {work_dir}'
    raise CheckpointError(
        f'--resume: no checkpoint in {work_dir} can be resumed: {"; ".join(faults)}. To start '
        'anew, give another folder by --work-dir'
    )


def fit_schedules(runner: Runner, checkpoint: dict) -> Optional[str]:
    """Fit a checkpoint to a run with another number of iterations per epoch.

    MMEngine goes on with the iterations and schedules of the checkpoint, so with another batch size
    or number of processes the learning rate would change too early or too late. After this it is
    what the config of this run sets after as many epochs.

    Args:
        runner (Runner): About to resume; its schedulers are built and have not been stepped.
        checkpoint (dict): Changed in place.

    Returns:
        Optional[str]: What was changed, or which setting has no effect; None if all is as before.

    Raises:
        CheckpointError: A schedule depends on the metrics of earlier epochs.
    """
    if not isinstance(runner.train_loop, EpochBasedTrainLoop):
        return None  # it counts iterations alone, whatever the batch size
    meta, length = checkpoint['meta'], len(runner.train_dataloader)
    epoch, saved = meta['epoch'], meta['iter']
    if saved == epoch * length:
        return _other_schedules(runner, checkpoint)
    how = f'{saved} iterations in {epoch} epochs, and this run makes {length} an epoch'
    built = runner.param_schedulers or []
    schedulers = list(chain(*built.values())) if isinstance(built, dict) else built
    if isinstance(built, list) and not any(hasattr(s, 'need_val_args') for s in schedulers):
        _step(runner, epoch, length)
        _take_schedules(runner, checkpoint)
    elif any(not scheduler.by_epoch for scheduler in schedulers):
        raise CheckpointError(
            f'--resume: the checkpoint has {how}, to which its schedules cannot be fitted; resume '
            'with the batch size and number of processes that it was trained with'
        )
    meta['iter'] = epoch * length
    for hook in runner.hooks:
        if isinstance(hook, EMAHook):
            state = hook.ema_model.state_dict()
            state['steps'] = state['steps'] * meta['iter'] // saved
            hook.ema_model.load_state_dict(state)
    return f'the checkpoint has {how}: its schedules were replaced by those of the config'


def _other_schedules(runner: Runner, checkpoint: dict) -> Optional[str]:
    built, saved = runner.param_schedulers, checkpoint.get('param_schedulers')
    if not isinstance(built, list) or not isinstance(saved, list):
        return None
    changing = ('last_step', '_global_step', '_last_value', *PLATEAU_STATE)
    settings = [
        [{k: v for k, v in state.items() if k not in changing} for state in states]
        for states in (saved, [scheduler.state_dict() for scheduler in built])
    ]
    if settings[0] == settings[1]:
        return None
    return 'the schedules go on as in the checkpoint; the config has others, which have no effect'


def _step(runner: Runner, epochs: int, length: int) -> None:
    """Step the schedulers as in training, since most compute a value from the one before."""
    stepping = ParamSchedulerHook()
    runner.optim_wrapper._global_step = 0  # or they warn that the optimizer was not stepped
    for _ in range(epochs):
        for i in range(length):
            stepping.after_train_iter(runner, i)
        stepping.after_train_epoch(runner)


def _take_schedules(runner: Runner, checkpoint: dict) -> None:
    """Replace the schedulers of a checkpoint, and what they set in its optimizer."""
    checkpoint['param_schedulers'] = [s.state_dict() for s in runner.param_schedulers or []]
    saved, current = checkpoint['optimizer'], runner.optim_wrapper.state_dict()
    for group, fitted in zip(saved['param_groups'], current['param_groups']):
        group.update({key: value for key, value in fitted.items() if key != 'params'})
    if 'base_param_settings' in current:  # MMEngine's group for the log
        saved['base_param_settings'] = current['base_param_settings']
