"""An exported classifier in the hands of commands: ours, and mmpretrain's."""

import json
import re
import sys
from functools import partial
from pathlib import Path

import mmpretrain
import pytest
import torch
from cut_classifiers import logits
from mmengine.config import Config
from run import DIGITS, exits, run, succeeded, tool

from mmrazor_byot.export.classifier import export_classifier
from mmrazor_byot.registry import MODELS

EXPORT = 'model_converters/export_student.py'
MMPRETRAIN_TEST = Path(mmpretrain.__file__).parent / '.mim/tools/test.py'

WITHOUT_US = """
import sys
sys.modules.update(dict.fromkeys(['mmrazor_byot', 'mmrazor']))  # unimportable
import torch
from mmpretrain import get_model
model = get_model(sys.argv[1], pretrained=sys.argv[2])
images = torch.load(sys.argv[3])
with torch.no_grad():
    torch.save(model(images), sys.argv[4])
"""


def test_mmpretrains_tools_give_the_same_accuracy(trained, tmp_path):
    cfg = Config.fromfile(DIGITS)
    checkpoint = str(trained / 'epoch_8.pth')
    rows = exits(trained)  # of the last validation, with these weights
    theirs, ours = partial(run, sys.executable, MMPRETRAIN_TEST), partial(tool, 'test.py')
    for exit_number, command in ((4, theirs), (2, ours)):
        done = export_classifier(cfg, checkpoint, tmp_path, exit_number)
        out = tmp_path / f'{exit_number}.json'
        arguments = done.config, done.checkpoint, '--work-dir', tmp_path / 'work', '--out', out
        succeeded(command(*arguments, '--out-item', 'metrics'))
        metrics = json.loads(out.read_text())
        for k in (1, 5):
            assert metrics[f'accuracy/top{k}'] == pytest.approx(
                rows[exit_number - 1][f'top{k}'], abs=1e-4
            )


def test_get_model_without_our_package(trained, tmp_path):
    cfg = Config.fromfile(DIGITS)
    done = export_classifier(cfg, str(trained / 'epoch_8.pth'), tmp_path)
    # Only the test data, which mmpretrain does not have, are ours.
    ours = re.findall(r'mmrazor.*', done.config.read_text())
    assert sorted(name.rstrip("',)") for name in ours) == [
        'mmrazor_byot.BGRImages',
        'mmrazor_byot.Digits',
    ]
    images = torch.randn(3, 3, 32, 32)
    torch.save(images, tmp_path / 'images.pt')
    files = tmp_path / 'images.pt', tmp_path / 'logits.pt'
    succeeded(run(sys.executable, '-c', WITHOUT_US, done.config, done.checkpoint, *files))
    model = MODELS.build(cfg.model)
    model.load_state_dict(torch.load(trained / 'epoch_8.pth', weights_only=False)['state_dict'])
    assert torch.equal(torch.load(tmp_path / 'logits.pt'), logits(model, images)[-1])


def test_the_command(resnet, tmp_path):
    cfg, _, checkpoint = resnet
    out = tmp_path / 'a b'
    done = tool(EXPORT, cfg.filename, checkpoint, '--out', out, '--exit', '1')
    succeeded(done)
    head, config, weights = done.stdout.splitlines()
    stem, blocks = 3 * 4 * 9 + 8, 4 * (4 * 4 * 9 + 8)
    exit_head = (4 * 4 + 8) + (4 * 4 * 64 + 8) + (4 * 32 + 64) + (32 * 5 + 5)
    assert head.startswith(f'{stem + blocks + exit_head} parameters, same logits as in ')
    assert sorted(out.iterdir()) == sorted([Path(config), Path(weights)])
