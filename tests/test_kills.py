"""Runs that are killed again and again resume, and end with the weights of an unbroken one."""

import contextlib
import os
import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from run import DIGITS, QUICK, ROOT, exits, free_port, preloaded, script, succeeded, tool

EPOCHS = 6
OPTIONS = (
    *QUICK[:-1],  # not a checkpoint of every epoch
    'default_hooks.checkpoint.interval=3',
    'default_hooks.checkpoint.max_keep_ckpts=1',
    'default_hooks.checkpoint.save_best=accuracy/top1',
    'train_dataloader.dataset.indices=128',
    'val_dataloader.dataset.indices=64',
    f'train_cfg.max_epochs={EPOCHS}',
    'train_cfg.val_interval=2',
    'param_scheduler.0.end=2',
    'param_scheduler.1.begin=2',
    f'param_scheduler.1.end={EPOCHS}',
)


def train(work_dir, ranks, launched=False):
    """Train, or go on; blocks."""
    words = '--work-dir', work_dir, '--resume', '--cfg-options', *OPTIONS
    if launched:
        arguments = 'train.py', ranks, DIGITS, *words
        return script(ROOT / 'tests/forked_launcher.py', *arguments, PORT=free_port(), timeout=900)
    launcher = ['--launcher', 'pytorch'][: ranks > 1 and 2]
    return tool('train.py', DIGITS, *words, *launcher, ranks=ranks, timeout=900)


def built(work_dir) -> float:
    """When the last run there was built, which then writes its config; 0 before."""
    path = work_dir / DIGITS.name
    return path.stat().st_mtime if path.exists() else 0


def descendants(pid) -> list:
    """Processes that a process has started, and theirs."""
    try:
        children = Path(f'/proc/{pid}/task/{pid}/children').read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [found for child in children for found in (int(child), *descendants(child))]


def alive(pid) -> bool:
    try:
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] != 'Z'
    except (FileNotFoundError, ProcessLookupError):
        return False


def kill(processes, how, rng) -> None:
    """Kill all processes, one, or the launcher, which is the first; nearly always by SIGKILL."""
    number = rng.choice([signal.SIGKILL] * 4 + [signal.SIGTERM])
    victims = {
        'group': processes,
        'rank': [rng.choice(processes[-2:])],
        'launcher': processes[:1],
    }
    for pid in victims[how]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def check_killed(work_dir, processes) -> None:
    """No process is left, and no file is half-written."""
    deadline = time.time() + 60
    while any(map(alive, processes)):
        assert time.time() < deadline, 'a process outlives the kill'
        time.sleep(0.05)
    for path in work_dir.glob('*.pth'):
        torch.load(path, weights_only=False)
    pointer = work_dir / 'last_checkpoint'
    assert not pointer.exists() or Path(pointer.read_text()).exists()


def check_finished(work_dir, whole) -> None:
    """The same weights, the same files, the same table; nothing is left over."""
    ours, theirs = (
        torch.load(folder / f'epoch_{EPOCHS}.pth', weights_only=False)
        for folder in (work_dir, whole)
    )
    for part in ('state_dict', 'optimizer'):
        torch.testing.assert_close(ours[part], theirs[part], rtol=0, atol=0)
    names = [
        sorted(p.name for p in folder.iterdir() if p.is_file()) for folder in (work_dir, whole)
    ]
    assert names[0] == names[1] and not list(work_dir.rglob('*.tmp'))
    assert (work_dir / 'last_checkpoint').read_text() == str(work_dir / f'epoch_{EPOCHS}.pth')
    assert exits(work_dir) == exits(whole)


@pytest.mark.parametrize(
    'ranks, launched, kills',
    [
        pytest.param(1, False, 3, id='a_few'),
        pytest.param(1, False, 100, id='one_process', marks=pytest.mark.slow),
        pytest.param(2, False, 60, id='two_processes', marks=pytest.mark.slow),
        pytest.param(2, True, 40, id='launched', marks=pytest.mark.slow),
    ],
)
def test_killed_runs_end_as_the_unbroken_one(tmp_path, ranks, launched, kills):
    rng, whole = random.Random(kills), tmp_path / 'whole'
    succeeded(tool('train.py', '--help'))  # the imports are done
    start = time.time()
    succeeded(train(whole, ranks, launched))
    duration, server = time.time() - start, preloaded().pid
    training = time.time() - built(whole)
    ways = ['group'] + ['rank'] * (ranks > 1) + ['launcher'] * launched
    done, finished, resumed = 0, 0, 0
    with ThreadPoolExecutor() as pool:
        while done < kills:
            work_dir = tmp_path / str(finished)
            run = pool.submit(train, work_dir, ranks, launched)
            if rng.random() < 0.2:  # at any moment, or else while it trains
                time.sleep(rng.uniform(0, duration))
            else:
                begin = time.time()
                while built(work_dir) < begin and not run.done():
                    time.sleep(0.01)
                time.sleep(rng.uniform(0, training))
            processes = descendants(server)
            if not processes or run.done():
                succeeded(run.result())
                check_finished(work_dir, whole)
                finished += 1
                continue
            kill(processes, rng.choice(ways), rng)
            run.result()
            check_killed(work_dir, processes)
            done += 1
            resumed += (work_dir / 'last_checkpoint').exists()
    succeeded(train(work_dir, ranks, launched))
    check_finished(work_dir, whole)
    print(
        f'{done} kills in {time.time() - start:.0f} s, {resumed} of them after a checkpoint; '
        f'{finished + 1} runs ended as the unbroken one'
    )
