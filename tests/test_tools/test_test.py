"""Testing through tools/test.py and tools/dist_test.sh."""

import json
import pickle

import pytest
import torch
from mmengine.config import Config
from run import DIGITS, WEIGHTS, exits, failed, printed_briefly, succeeded, tool

from mmrazor_byot.datasets import Digits
from mmrazor_byot.registry import MODELS

CHECKPOINT = 'epoch_8.pth'


def test_one_and_two_processes_give_identical_metrics(trained, tmp_path):
    checkpoint = trained / CHECKPOINT
    metrics = []
    for command in (['test.py', DIGITS, checkpoint], ['dist_test.sh', DIGITS, checkpoint, '2']):
        out, work_dir = tmp_path / f'{command[0]}.json', tmp_path / command[0]
        flags = '--work-dir', work_dir, '--out', out, '--out-item', 'metrics'
        succeeded(tool(*command, *flags))
        metrics.append(json.loads(out.read_text()))
    assert metrics[0] == metrics[1]
    assert len(metrics[0]) == 2 * (4 + 1 + 1)
    assert metrics[0]['accuracy/top1'] == metrics[0]['exit4/top1']
    rows = exits(tmp_path / 'test.py')
    assert rows[0]['top1'] == metrics[0]['exit1/top1']
    assert rows[4]['top5'] == metrics[0]['ensemble/top5']
    # What the last validation of the training found with these weights.
    assert rows == exits(trained)
    # One number by another way: the model on the arrays of the test split.
    assert metrics[0]['exit2/top1'] == pytest.approx(accuracy_by_hand(checkpoint, 1), abs=1e-9)


def accuracy_by_hand(checkpoint, exit_index):
    model = MODELS.build(Config.fromfile(DIGITS).model)
    model.load_state_dict(torch.load(checkpoint, weights_only=False)['state_dict'])
    model.eval()
    digits = Digits(split='test')
    images = torch.tensor(digits.images).permute(0, 3, 1, 2)
    with torch.no_grad():
        logits = model((images - 77.8) / 82.5)[exit_index]
    right = logits.argmax(1) == torch.tensor(digits.labels)
    return right.double().mean().item() * 100


def test_batched_data_find_what_the_readme_says(tmp_path):
    fast = DIGITS.with_name('byot_resnet18-fast_2xb64_digits.py')
    printed_briefly(succeeded(tool('test.py', fast, WEIGHTS, '--work-dir', tmp_path)))
    top1 = [round(row['top1'], 2) for row in exits(tmp_path)]
    assert top1 == [97.33, 98.66, 99.0, 99.0, 99.0]


def test_predictions_and_pictures(tmp_path):
    """Predictions carry every exit's scores; every 200th image is drawn."""
    out, shown = tmp_path / 'predictions.pkl', tmp_path / 'shown'
    flags = '--work-dir', tmp_path, '--out', out, '--show-dir', shown, '--interval', '200'
    options = '--cfg-options', 'model.predict_with=ensemble'
    succeeded(tool('test.py', DIGITS, WEIGHTS, *flags, *options))
    predictions = pickle.loads(out.read_bytes())
    assert len(predictions) == 599
    first = predictions[0]
    assert first['exit_scores'].shape == (4, 10)
    torch.testing.assert_close(first['pred_score'], first['exit_scores'].mean(dim=0))
    assert len(list(shown.rglob('*.png'))) >= 2


def spoil(kind, source, target):
    if kind in ('truncated', 'empty'):
        target.write_bytes(source.read_bytes()[: 10**5 if kind == 'truncated' else 0])
    elif kind == 'of another network':
        checkpoint = torch.load(source, weights_only=False)
        state = checkpoint['state_dict']
        state['somewhere.weight'] = state.pop('exit_heads.0.fc.weight')
        torch.save(checkpoint, target)
    elif kind == 'plain':
        state = torch.load(source, weights_only=False)['state_dict']
        names = [name for name in state if name.startswith('architecture.')]
        torch.save({name.removeprefix('architecture.'): state[name] for name in names}, target)


@pytest.mark.parametrize(
    'kind, message',
    [
        ('missing', 'does not exist; check the path'),
        ('truncated', 'is truncated or not a checkpoint'),
        ('empty', '(0 bytes) is truncated or not a checkpoint'),
        (
            'of another network',
            'does not fit the BYOT: missing: exit_heads.0.fc.weight; unexpected: somewhere.weight',
        ),
        (
            'plain',
            'it is the ImageClassifier alone, without exit heads: train them first',
        ),
    ],
)
def test_bad_checkpoints(tmp_path, kind, message):
    path = tmp_path / 'bad.pth'
    spoil(kind, WEIGHTS, path)
    assert message in failed(tool('test.py', DIGITS, path, '--work-dir', tmp_path))


def test_metrics_need_a_right_file_name(tmp_path):
    flags = '--out', tmp_path / 'm.json', '--work-dir', tmp_path
    assert 'add --out-item metrics' in failed(tool('test.py', DIGITS, WEIGHTS, *flags))


def test_weights_alone_cannot_be_resumed(trained, tmp_path):
    path = tmp_path / 'weights.pth'
    checkpoint = torch.load(trained / CHECKPOINT, weights_only=False)
    torch.save(dict(state_dict=checkpoint['state_dict']), path)
    done = tool('train.py', DIGITS, '--resume', path, '--work-dir', tmp_path)
    assert 'has no meta, so training cannot be resumed' in failed(done)
    succeeded(tool('test.py', DIGITS, path, '--work-dir', tmp_path))
