"""The table of all exits at the end of a run."""

import json
from types import SimpleNamespace

import pytest
from torch import nn

from mmrazor_byot.engine import ExitTableHook
from mmrazor_byot.engine.hooks import exit_table_hook

METRICS = {'exit1/top1': 50.0, 'exit2/top1': 75.0, 'ensemble/top1': 80.0, 'accuracy/top1': 75.0}


class TwoExits(nn.Module):
    """A 1 x 1 convolution, and after it another with 1,000 channels.

    On images of 1 x H x W, exit 1 has 2 params (one is the bias) and H * W multiply-adds; exit 2
    adds 1,000 params and 1,000 * H * W multiply-adds.
    """

    num_exits = 2

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 1)
        self.wide = nn.Conv2d(1, 1000, 1, bias=False)

    def forward(self, inputs, mode='loss'):
        x = self.conv(inputs)
        return x.flatten(1), self.wide(x).flatten(1)


def expected(pixels, metrics=METRICS):
    """What exits.json says for images of so many pixels."""
    rows = [
        dict(exit='1/2', params=2, flops=pixels),
        dict(exit='2/2', params=1002, flops=1001 * pixels),
        dict(exit='ensemble', params=1002, flops=1001 * pixels),
    ]
    if metrics:
        for row, top1 in zip(rows, (50.0, 75.0, 80.0)):
            row['top1'] = top1
    return rows


@pytest.fixture
def runner(tmp_path):
    texts = []
    return SimpleNamespace(
        model=TwoExits(),
        log_dir=str(tmp_path),
        logger=SimpleNamespace(info=texts.append),
        texts=texts,
        path=tmp_path / 'exits.json',
    )


def test_log(runner):
    runner.model = nn.DataParallel(runner.model)
    ExitTableHook((1, 20, 50)).after_test_epoch(runner, METRICS)
    (text,) = runner.texts
    assert text.splitlines() == [
        f'All exits (also in {runner.path}):',
        '| exit       |   1/2 |   2/2 | ensemble |',
        '|------------|------:|------:|---------:|',
        '| top-1 (%)  | 50.00 | 75.00 |    80.00 |',
        '| params (M) | 2e-06 | 0.001 |    0.001 |',
        '| FLOPs (G)  | 1e-06 | 0.001 |    0.001 |',
    ]


@pytest.mark.parametrize('metrics', [METRICS, {}])
@pytest.mark.parametrize(
    'own, of_hook, pixels',
    [(None, (1, 4, 4), 16), ((1, 2, 2), None, 4), ((1, 2, 2), (1, 3, 5), 15)],
)
def test_size_of_the_images(runner, own, of_hook, pixels, metrics):
    if own:
        runner.model.input_size = own
    ExitTableHook(of_hook).after_test_epoch(runner, metrics=metrics)
    assert json.loads(runner.path.read_text()) == expected(pixels, metrics)


def test_default_size(runner):
    """3 x 32 x 32."""
    runner.model.conv = nn.Conv2d(3, 1, 1, bias=False)
    ExitTableHook().after_test_epoch(runner, METRICS)
    rows = json.loads(runner.path.read_text())
    assert [row['params'] for row in rows] == [3, 1003, 1003]
    assert rows[0]['flops'] == 3 * 1024


def test_after_training_the_last_validation_counts(runner):
    hook = ExitTableHook((1, 4, 4))
    hook.after_val_epoch(runner, metrics={'exit1/top1': 1.0})
    hook.after_val_epoch(runner, metrics=METRICS)
    assert runner.texts == []
    hook.after_train(runner)
    assert json.loads(runner.path.read_text()) == expected(16)
    assert len(runner.texts) == 1


def test_training_without_validation(runner):
    ExitTableHook((1, 4, 4)).after_train(runner)
    assert runner.texts == [] and not runner.path.exists()


def test_only_the_first_process_reports(runner, monkeypatch):
    monkeypatch.setattr(exit_table_hook, 'is_main_process', lambda: False)
    ExitTableHook((1, 4, 4)).after_test_epoch(runner, METRICS)
    assert runner.texts == [] and not runner.path.exists()
