"""The comparison of methods: its pieces, and the command, cut short."""

import json
import subprocess
import sys
import time
from argparse import Namespace
from pathlib import Path

import accuracy
import pytest
from accuracy_report import summarize, table
from accuracy_run import Run
from run import QUICK, ROOT, environment, script, succeeded

SCRIPT = ROOT / 'benchmarks/accuracy.py'


def test_only_what_needs_the_teacher_waits_for_it():
    plain, teacher, student = (
        Run(method, 0, None) for method in ('plain', 'teacher', 'single-teacher')
    )
    assert accuracy.next_run([student, plain], [teacher]) == plain
    assert accuracy.next_run([student], [plain, teacher]) is None
    assert accuracy.next_run([student, plain], []) == student
    assert accuracy.next_run([], [plain]) is None


@pytest.fixture
def set_up(images, monkeypatch):
    """Settings of a run of a method, with changes of the recipe."""
    monkeypatch.setenv('TIN32', images)

    def settings(method, **changes):
        args = Namespace(scale='small', cfg_options=changes, held_out=False)
        vars(args).update(work_dir='work', trained='small', variant=None)
        return Run(method, 0, args).settings()

    return settings


def test_settings_tell_runs_apart(set_up):
    changes = {'default_hooks.ema': dict(momentum=0.5)}, {'optim_wrapper.optimizer.lr': 0.3}
    kinds = [set_up(method) for method in ('plain', 'byot', 'plain-ema')]
    kinds += [set_up('plain', **change) for change in changes]
    assert len(set(kinds)) == len(kinds)
    # How often it logs or saves changes no result.
    assert set_up('plain', **{'default_hooks.logger.interval': 7}) == kinds[0]


def result(method, seed, **top1):
    return dict(method=method, seed=seed, epochs=60, top1=top1)


def test_table():
    runs = [
        result('plain', 0, accuracy=40.0),
        result('plain', 1, accuracy=44),
        result('byot', 0, exit1=30.0, exit2=41.0, ensemble=45.0, accuracy=41.0),
    ]
    found = summarize(runs)
    assert found['plain']['top1']['accuracy'] == dict(mean=42, std=pytest.approx(8**0.5))
    assert table(found).splitlines()[2:] == [
        '| plain  |    - | 42.0 ± 2.8 |        - |     2 |     60 |',
        '| byot   | 30.0 |       41.0 |     45.0 |     1 |     60 |',
    ]


@pytest.mark.slow
def test_the_command(tmp_path, images, monkeypatch, capfd):
    """Done runs are kept; other settings do not pass for them."""
    options = ['channels_last=False', 'train_cfg.max_epochs=1', 'param_scheduler=None']
    options.append('train_dataloader.dataset.dataset.samples_per_class=3')
    methods = ['--methods', 'plain', 'byot', 'single-teacher', '--seeds', '3', '--jobs', '2']
    folders = '--out', tmp_path, '--work-dir', tmp_path / 'work'
    command = [SCRIPT, *methods, *folders, '--cfg-options', *options, *QUICK]
    first = succeeded(script(*command, TIN32=images))
    folder = tmp_path / 'accuracy_small'
    assert {p.name for p in folder.iterdir()} == {
        f'{run}.json' for run in ('byot-3', 'plain-3', 'single-teacher-3', 'teacher-0')
    }
    kept = {p: p.stat().st_mtime_ns for p in folder.iterdir()}
    byot = json.loads((folder / 'byot-3.json').read_text())['top1']
    assert set(byot) == {'exit1', 'exit2', 'exit3', 'exit4', 'ensemble', 'accuracy'}
    cells = [f'{byot[name]:.1f}' for name in ('exit1', 'exit2', 'exit3', 'exit4', 'ensemble')]
    assert f'| byot | {" | ".join(cells)} | 1 | 1 |' in first
    for suffix in ('json', 'png', 'svg'):
        assert (tmp_path / f'accuracy_small.{suffix}').stat().st_size > 200

    monkeypatch.setenv('TIN32', images)
    monkeypatch.setenv('PYTHONPATH', str(ROOT))

    def again(*more):
        """The same in this process; what it prints."""
        monkeypatch.setattr(sys, 'argv', [str(x) for x in (*command, *more)])
        accuracy.main()
        return capfd.readouterr().out

    capfd.readouterr()
    assert again().splitlines()[-6:] == first.splitlines()[-6:]
    assert kept == {p: p.stat().st_mtime_ns for p in folder.iterdir()}
    again('--unused', '--methods', 'byot')
    unused = tmp_path / 'accuracy_small_unused/byot-3.json'
    assert set(json.loads(unused.read_text())['top1']) == set(byot)
    tested = Path('work/accuracy_small/byot-3/unused/metrics.json')
    assert json.loads((tmp_path / tested).read_text())['exit1/top5'] > 0
    with pytest.raises(SystemExit, match='epoch_1.pth is missing; train it'):
        again('--unused', '--methods', 'byot', '--seeds', 4)

    table = again('--variant', 'narrow', '--methods', 'plain')
    assert (folder / 'plain-narrow-3.json').exists()
    shown = ' '.join(line.split()[1] for line in table.splitlines()[-5:])
    assert shown == 'plain-narrow byot plain single-teacher teacher'

    with pytest.raises(SystemExit, match='byot-3.json was made with other settings'):
        again('--methods', 'byot', '--held-out', '--name', 'accuracy_small')


def test_a_run_that_fails_says_where_to_look(tmp_path, images):
    folders = '--out', tmp_path, '--work-dir', tmp_path / 'work'
    changes = '--cfg-options', 'model.sections=9'
    done = script(SCRIPT, '--methods', 'byot', '--seeds', 0, *folders, *changes, TIN32=images)
    assert done.returncode != 0
    assert 'byot-0 failed, see ' in done.stdout
    assert 'error: 1 runs failed: byot-0' in done.stderr
    log = tmp_path / 'work/accuracy_small/byot-0/output.log'
    assert 'sections' in log.read_text()


@pytest.mark.slow
def test_stopping_it_stops_its_runs(tmp_path, images):
    """And what it had begun goes on from its last checkpoint."""
    folder = tmp_path / 'work/accuracy_small/byot-0'
    folders = '--out', str(tmp_path), '--work-dir', str(tmp_path / 'work')
    changes = 'channels_last=False', 'train_cfg.max_epochs=6', 'param_scheduler=None', *QUICK
    words = '--methods', 'byot', '--seeds', '0', *folders, '--cfg-options', *changes
    process = subprocess.Popen(
        [sys.executable, SCRIPT, *words], cwd=ROOT, env=environment(dict(TIN32=images))
    )
    deadline = time.time() + 240
    while not (folder / 'epoch_1.pth').exists():
        assert process.poll() is None and time.time() < deadline
        time.sleep(0.05)
    process.terminate()
    assert process.wait() != 0
    assert not list(tmp_path.glob('accuracy_small/*.json'))
    succeeded(script(SCRIPT, *words, TIN32=images))
    assert (tmp_path / 'accuracy_small/byot-0.json').exists()
    log = (folder / 'output.log').read_text()
    assert 'resumed epoch: ' in log
