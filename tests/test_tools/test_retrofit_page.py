"""docs/retrofit.md, typed as it is into a folder of a user."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from mmengine.config import Config
from PIL import Image
from run import ROOT, exits, run, script, succeeded
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
from torchvision.models import resnet18
from torchvision.transforms import Compose, Normalize, Resize, ToTensor

from mmrazor_byot.datasets.digits import Digits
from mmrazor_byot.errors import ByotError
from mmrazor_byot.registry import MODELS
from mmrazor_byot.runtime import EarlyExitModel

PAGE = (ROOT / 'docs/retrofit.md').read_text()
FILES = dict(re.findall(r'`(\w+\.py)`:\n\n```python\n(.*?)```', PAGE, re.S))
README = (ROOT / 'README.md').read_text()
SNIPPETS = [
    snippet
    for text in (README, PAGE)
    for snippet in re.findall(r'```python\n(.*?)```', text, re.S)
    if '_base_ =' not in snippet
]
COMMANDS = re.findall(r'^    python (.*)$', PAGE, re.M)
#: Few epochs instead of 60.
SHORT = (
    'train_dataloader.batch_size=16',
    'optim_wrapper.optimizer.lr=0.1',
    'param_scheduler.0.end=1',
    'param_scheduler.1.begin=1',
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The user's, with the files of the page and the training images of the digits."""
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    (tmp_path / 'configs').symlink_to(ROOT / 'configs')
    digits = Digits(split='train')
    digits.full_init()
    (tmp_path / 'photos/some').mkdir(parents=True)
    for i, image in enumerate(digits.images[:320]):
        Image.fromarray(image).save(f'photos/some/{i}.png')
    return tmp_path


def train(command, epochs) -> list:
    """Run a command of the page for so many epochs; the rows of its table of exits."""
    name, *words = command.split()
    work_dir = Path('work_dirs', 'plain' if '--work-dir' in words else words[0][:-3])
    last = f'train_cfg.max_epochs={epochs}', f'param_scheduler.1.end={epochs}'
    options = '--cfg-options', *SHORT, *last, f'train_cfg.val_interval={epochs}'
    succeeded(script(ROOT / name, *words, *options, cwd=Path.cwd()))
    (work_dir / f'epoch_{epochs}.pth').rename(work_dir / 'epoch_60.pth')
    return exits(work_dir)


def weights(work_dir) -> dict:
    return torch.load(f'work_dirs/{work_dir}/epoch_60.pth', weights_only=False)['state_dict']


def test_from_a_checkpoint_to_one_file(folder, digits_images):
    plain, labelled, calibrate, export, classify, unlabelled = COMMANDS
    own = train(plain, 4)[0]['top1']
    for command, epochs, least in ((labelled, 3, 40), (unlabelled, 15, 20)):
        rows = train(command, epochs)
        assert [row['exit'] for row in rows] == ['1/4', '2/4', '3/4', '4/4', 'ensemble']
        assert rows[0]['top1'] > least and rows[2]['top1'] > 50  # 10 is a random guess
        assert rows[3]['top1'] == own > 75
    for name, value in weights('plain').items():
        for trained in ('exits', 'unlabelled'):
            assert torch.equal(weights(trained)[f'architecture.{name}'], value), name
    (folder / 'work_dirs/plain').rename(folder / 'elsewhere')  # it is not needed any more
    for command in (calibrate, export):
        name, *words = command.split()
        succeeded(script(ROOT / name, *words, cwd=folder))
    images, labels = digits_images
    file = EarlyExitModel('model.onnx', threads=1)
    scores, _, _ = file(images, file.stop_at(4))
    assert 100 * np.mean(scores.argmax(1) == labels) == pytest.approx(own)
    words = classify.replace('IMAGE', 'photos').split()
    said = succeeded(run(sys.executable, *words, cwd=folder))
    assert len(re.findall(r'^photos/some/\d+\.png +\d .* [1-4]/4 ', said, re.M)) == 320


def build(name, **checkpoint):
    cfg = Config.fromfile(name)
    cfg.model.architecture.init_cfg.update(checkpoint)
    model = MODELS.build(cfg.model)
    model.init_weights()
    return model


@pytest.mark.parametrize(
    'name, net',
    [
        ('torchvision_exits.py', lambda: resnet18(num_classes=10)),
        ('timm_exits.py', lambda: timm.create_model('mobilenetv3_small_050', num_classes=10)),
    ],
)
def test_classifiers_of_others(folder, name, net):
    net = net().eval()
    torch.save(net.state_dict(), Config.fromfile(name).model.architecture.init_cfg.checkpoint)
    model = build(name).eval()
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        assert model.num_exits == 4 and torch.equal(model(images)[-1], net(images))


def test_errors(folder):
    said = []
    torch.save(resnet18(num_classes=7).state_dict(), 'resnet18.pth')
    with pytest.raises(ByotError) as e:
        build('torchvision_exits.py')
    said.append(str(e.value))
    wrong = Config.fromfile('torchvision_exits.py').model
    wrong.architecture.after[2] = 'layer5'
    with pytest.raises(ByotError) as e:
        MODELS.build(wrong)
    said.append(str(e.value))
    rows = re.findall(r'\| `(\w[^`]*)`', PAGE.partition('## What the errors say')[2])
    for message, row in zip(said, (rows[0], rows[2])):
        assert message.startswith(row.removesuffix('…'))


def accuracy(model, data) -> list:
    with torch.no_grad():
        return [float((z.argmax(1) == data[1]).float().mean()) for z in model.eval()(data[0])]


def test_plain_torch(folder):
    """The snippets of the README and the page in one program, for a network that knows digits."""
    torch.manual_seed(0)
    digits = [Digits(split=split) for split in ('train', 'test')]
    for part in digits:
        part.full_init()
    transform = Compose([Resize(32), ToTensor(), Normalize([0.3] * 3, [0.3] * 3)])
    inputs = [torch.stack([transform(Image.fromarray(x)) for x in d.images]) for d in digits]
    known, tested = zip(inputs, (torch.as_tensor(np.array(d.labels)) for d in digits))
    net = timm.create_model('resnet10t', num_classes=10, channels=(16, 32, 64, 128), stem_width=8)
    optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9)
    for part in torch.randperm(1198)[:1184].repeat(4).split(32):
        optimizer.zero_grad()
        F.cross_entropy(net(known[0][part]), known[1][part]).backward()
        optimizer.step()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    names = dict(
        net=net,
        images=tested[0][:8],
        loader=DataLoader(known[0], 64),
        train_loader=DataLoader(TensorDataset(*known), 64, shuffle=True),
        held_out=DataLoader(TensorDataset(*known), 64),
        transform=transform,
    )
    for snippet in SNIPPETS:
        exec(snippet, names)
        *shallow, deepest = accuracy(names['model'], tested)
        assert deepest > 0.8 and min(shallow) > 0.6
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    scores, stops, _ = EarlyExitModel('model.onnx', threads=1)(digits[1].images)
    policy = names['calibration'].file.policy
    with torch.no_grad():
        logits = torch.stack(names['model'](tested[0]), dim=1)
    probabilities = (logits / torch.tensor(policy.temperatures)[:, None]).softmax(-1)
    for found, row, last in zip(scores, probabilities, stops):
        expected = row[:last].mean(0) if policy.ensemble else row[last - 1]
        assert found == pytest.approx(expected.numpy(), abs=1e-4)
    assert len(names['terms']) == 7
