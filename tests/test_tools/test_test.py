"""Testing through tools/test.py and tools/dist_test.sh."""

import json
import pickle
import re

import pytest
import torch
from mmengine.config import Config
from run import DIGITS, QUICK, exits, failed, succeeded, tool

from mmrazor_byot.datasets import Digits
from mmrazor_byot.registry import MODELS

OPTIONS = ('--cfg-options', *QUICK)


def test_one_and_two_processes_give_identical_metrics(quick_run, tmp_path):
    checkpoint = quick_run / 'epoch_2.pth'
    metrics = []
    for command in (['test.py', DIGITS, checkpoint], ['dist_test.sh', DIGITS, checkpoint, '2']):
        out = tmp_path / f'{command[0]}.json'
        succeeded(
            tool(
                *command,
                '--work-dir',
                tmp_path / command[0],
                '--out',
                out,
                '--out-item',
                'metrics',
                *OPTIONS,
                PORT='29621',
            )
        )
        metrics.append(json.loads(out.read_text()))
    assert metrics[0] == metrics[1]
    assert len(metrics[0]) == 2 * (4 + 1 + 1)
    assert metrics[0]['accuracy/top1'] == metrics[0]['exit4/top1']
    rows = exits(tmp_path / 'test.py')
    assert rows[0]['top1'] == metrics[0]['exit1/top1']
    assert rows[4]['top5'] == metrics[0]['ensemble/top5']
    # One number by another way: the model on the arrays of the test split.
    assert metrics[0]['exit2/top1'] == pytest.approx(accuracy_by_hand(checkpoint, 1), abs=1e-9)


def accuracy_by_hand(checkpoint, exit_index):
    cfg = Config.fromfile(DIGITS)
    cfg.model.architecture.backbone.update(base_channels=4, stem_channels=4)
    model = MODELS.build(cfg.model)
    model.load_state_dict(torch.load(checkpoint, weights_only=False)['state_dict'])
    model.eval()
    digits = Digits(split='test')
    images = torch.tensor(digits.images).permute(0, 3, 1, 2)
    with torch.no_grad():
        logits = model((images - 77.8) / 82.5)[exit_index]
    right = logits.argmax(1) == torch.tensor(digits.labels)
    return right.double().mean().item() * 100


def test_predictions_carry_every_exits_scores(quick_run, tmp_path):
    out = tmp_path / 'predictions.pkl'
    succeeded(
        tool(
            'test.py',
            DIGITS,
            quick_run / 'epoch_2.pth',
            '--work-dir',
            tmp_path,
            '--out',
            out,
            *OPTIONS,
            'model.predict_with=ensemble',
        )
    )
    predictions = pickle.loads(out.read_bytes())
    assert len(predictions) == 599
    first = predictions[0]
    assert first['exit_scores'].shape == (4, 10)
    torch.testing.assert_close(first['pred_score'], first['exit_scores'].mean(dim=0))


def test_pictures(quick_run, tmp_path):
    succeeded(
        tool(
            'test.py',
            DIGITS,
            quick_run / 'epoch_2.pth',
            '--work-dir',
            tmp_path / 'work',
            '--show-dir',
            tmp_path / 'shown',
            '--interval',
            '200',
            *OPTIONS,
        )
    )
    assert len(list((tmp_path / 'shown').rglob('*.png'))) >= 2


def spoil(kind, source, target):
    data = source.read_bytes()
    if kind == 'truncated':
        target.write_bytes(data[: len(data) // 2])
    elif kind == 'empty':
        target.write_bytes(b'')
    elif kind == 'of another network':
        checkpoint = torch.load(source, weights_only=False)
        state = checkpoint['state_dict']
        state['somewhere.weight'] = state.pop('exit_heads.0.fc.weight')
        torch.save(checkpoint, target)


@pytest.mark.parametrize(
    'kind, message',
    [
        ('missing', 'does not exist; check the path'),
        ('truncated', 'is truncated or not a checkpoint'),
        ('empty', r'\(0 bytes\) is truncated or not a checkpoint'),
        (
            'of another network',
            'does not fit the BYOT: missing: exit_heads.0.fc.weight; unexpected: somewhere.weight',
        ),
    ],
)
def test_bad_checkpoints(quick_run, tmp_path, kind, message):
    path = tmp_path / 'bad.pth'
    spoil(kind, quick_run / 'epoch_2.pth', path)
    done = tool('test.py', DIGITS, path, '--work-dir', tmp_path, *OPTIONS)
    assert re.search(message, failed(done))


def test_metrics_need_a_right_file_name(quick_run, tmp_path):
    done = tool(
        'test.py',
        DIGITS,
        quick_run / 'epoch_2.pth',
        '--out',
        tmp_path / 'm.json',
        '--work-dir',
        tmp_path,
        *OPTIONS,
    )
    assert 'add --out-item metrics' in failed(done)


def test_weights_alone_cannot_be_resumed(quick_run, tmp_path):
    path = tmp_path / 'weights.pth'
    checkpoint = torch.load(quick_run / 'epoch_2.pth', weights_only=False)
    torch.save(dict(state_dict=checkpoint['state_dict']), path)
    done = tool('train.py', DIGITS, '--resume', path, '--work-dir', tmp_path, *OPTIONS)
    assert 'has no meta, so training cannot be resumed' in failed(done)
    succeeded(tool('test.py', DIGITS, path, '--work-dir', tmp_path, *OPTIONS))
