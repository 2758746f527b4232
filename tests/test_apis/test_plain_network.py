"""A plain torch network from images to the exported file: every door gives torch's answers."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
from torchvision import transforms as T

from mmrazor_byot.apis import ByotInferencer
from mmrazor_byot.calibration import Costs, calibrate_network
from mmrazor_byot.early_exit import PolicyFile, read_policy
from mmrazor_byot.errors import ConfigError, DatasetError
from mmrazor_byot.evaluation import stage_flops
from mmrazor_byot.exits import add_exits
from mmrazor_byot.export.export_network import export_network
from mmrazor_byot.runtime import EarlyExitModel

TRANSFORM = T.Compose([T.Resize((16, 16)), T.ToTensor(), T.Normalize([0.3] * 3, [0.32] * 3)])


def conv(before, after):
    layers = nn.Conv2d(before, after, 3, 2, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()
    return nn.Sequential(*layers)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.third = conv(3, 6), conv(6, 24), conv(24, 64)
        self.fc = nn.Linear(64, 10)

    def forward(self, x):
        return self.fc(self.third(self.second(self.first(x))).mean((2, 3)))


def to_tensor(images):
    """What TRANSFORM does for images of the right size, worked out here."""
    return (torch.from_numpy(images).permute(0, 3, 1, 2) / 255 - 0.3) / 0.32


@pytest.fixture(scope='module')
def digits(digits_images):
    """1,797 images in all: (599, 16, 16, 3) uint8 RGB and labels."""
    images, labels = digits_images
    small = [np.array(Image.fromarray(image).resize((16, 16))) for image in images]
    return np.array(small), labels


@pytest.fixture(scope='module')
def model(digits):
    """Two exits and the network's own, trained on 399 of the images."""
    torch.manual_seed(0)
    model = add_exits(Net(), ['first', 'second'], 16)
    inputs, target = to_tensor(digits[0][:399]), torch.tensor(digits[1][:399])
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    for _ in range(12):
        for part in torch.randperm(399).split(32):
            optimizer.zero_grad()
            sum(model.loss(inputs[part], target[part]).values()).backward()
            optimizer.step()
    return model.eval()


@pytest.fixture(scope='module')
def held_out(digits):
    data = TensorDataset(to_tensor(digits[0][399:]), torch.tensor(digits[1][399:]))
    return DataLoader(data, 64)


@pytest.fixture(scope='module')
def found(model, held_out):
    return calibrate_network(model, held_out, max_drop=1.0)


def expected(model, policy, images):
    """Scores and exits, image by image, by the definition of a confidence policy."""
    scores, exits = [], []
    with torch.no_grad():
        logits = torch.stack(model(to_tensor(images)), 1)
    for image in logits:
        reached = []
        for i, (z, t) in enumerate(zip(image, policy.temperatures)):
            reached.append((z / t).softmax(0))
            answer = torch.stack(reached).mean(0) if policy.ensemble else reached[-1]
            threshold = policy.thresholds[i] if i < 2 else 0
            if threshold is not None and answer.max() >= threshold:
                break
        scores.append(answer.numpy())
        exits.append(i + 1)
    return np.array(scores), np.array(exits)


def test_calibration(model, held_out, found, digits, tmp_path):
    """The drop and the cost that it states are those of the policy, counted here."""
    policy = found.file.policy
    scores, exits = expected(model, policy, digits[0][399:])
    labels = digits[1][399:]
    with torch.no_grad():
        deepest = model(to_tensor(digits[0][399:]))[-1].argmax(1).numpy()
    assert np.mean(deepest == labels) - np.mean(scores.argmax(1) == labels) <= 0.01 + 1e-9
    assert len(set(exits)) > 1
    stated = found.file.calibration['expected']
    assert stated['accuracy'] == pytest.approx(100 * np.mean(scores.argmax(1) == labels))
    assert stated['exit_shares'] == pytest.approx([np.mean(exits == i) for i in (1, 2, 3)])
    costs = stage_flops(model, model.input_size)
    up_to = np.cumsum(costs['sections']) + np.cumsum(costs['heads'])
    ratio = np.mean(up_to[exits - 1]) / sum(costs['sections'])
    assert stated['cost_share'] == pytest.approx(ratio)
    found.file.save(tmp_path / 'policy.json')
    read = read_policy(tmp_path / 'policy.json')
    assert read.policy.config() == policy.config()
    assert json.loads((tmp_path / 'policy.json').read_text())['num_exits'] == 3
    assert 'top-1 drop' in str(found)


def test_costs_of_ones_own(model, held_out):
    free = Costs.of_stages([1.0, 0.0, 9.0], [0.0, 0.0, 0.0], 'cents')
    found = calibrate_network(model, held_out, budget=1.0, costs=free)
    assert found.file.calibration['cost_unit'] == 'cents'
    assert 'cents, ratio' in found.table


NAMES = [f'digit {i}' for i in range(10)]


@pytest.fixture(scope='module')
def exported(model, found, digits, tmp_path_factory):
    """The file, and what the export says."""
    file = tmp_path_factory.mktemp('exported') / 'model.onnx'
    images, labels = digits[0][399:], digits[1][399:]
    model.train()
    export = export_network(
        model, file, TRANSFORM, found.file, NAMES, images, labels, int8=True, license='CC0'
    )
    assert model.training  # it is not changed
    model.eval()
    return file, export


def test_export(model, found, digits, exported):
    """Accuracies of both precisions, and the exits of the 8-bit file."""
    images, labels = digits[0][399:], digits[1][399:]
    file, export = exported
    about, fp32, int8 = export.metadata, export.accuracy['fp32'], export.accuracy['int8']
    scores, exits = expected(model, found.file.policy, images)
    assert fp32.policy == pytest.approx(100 * np.mean(scores.argmax(1) == labels))
    assert fp32.stops == pytest.approx({i: 100 * np.mean(exits == i) for i in (1, 2, 3)})
    with torch.no_grad():
        logits = model(to_tensor(images))
    top1 = {i: 100 * np.mean(z.argmax(1).numpy() == labels) for i, z in enumerate(logits, 1)}
    assert fp32.exits == pytest.approx(top1)
    assert export.difference < 1e-5
    assert about.license == 'CC0' and about.recipe == 'Net' and about.precision == 'int8'
    result = EarlyExitModel(file)(images)
    assert np.mean(result.exits == exits) > 0.9
    assert int8.policy == pytest.approx(100 * np.mean(result.scores.argmax(1) == labels))


def test_inferencer_and_file_agree(model, found, digits, tmp_path):
    """From pictures of another size, which both resize as torchvision does.

    The file is made without images: all exits, and thresholds of the caller.
    """
    file, policy = tmp_path / 'a.onnx', dict(type='ConfidencePolicy', thresholds=[0.8, 0.9])
    export_network(model, file, TRANSFORM)
    big = [Image.fromarray(image).resize((41, 33)) for image in digits[0][399:419]]
    inferencer = ByotInferencer(
        model, transform=TRANSFORM, policy=policy, classes=NAMES, show_progress=False
    )
    results = inferencer(big, batch_size=8)
    loaded = EarlyExitModel(file)
    assert loaded.metadata.policy_top1 is None and loaded.metadata.classes == list('0123456789')
    with torch.no_grad():
        logits = model(torch.stack([TRANSFORM(image) for image in big]))
    for i, (a, b) in enumerate(zip(results, loaded.classify(big, thresholds=[0.8, 0.9]))):
        assert a['exit'] == b['exit'] and a['pred_class'] == f'digit {b["pred_label"]}'
        right = F.softmax(logits[a['exit'] - 1][i], 0)
        assert a['exit'] == 3 or right.max() >= (0.8, 0.9)[a['exit'] - 1]
        np.testing.assert_allclose(a['pred_scores'], right, atol=1e-5)
        np.testing.assert_allclose(b['pred_scores'], right, atol=1e-5)
    inferencer.policy = found.file
    assert inferencer.policy is found.file.policy
    assert {result['exit'] for result in loaded.classify(big)} == {3}  # as no policy was given


@pytest.mark.parametrize(
    'settings, error, message',
    [
        (dict(int8=True), ConfigError, 'int8=True is calibrated on real images'),
        (dict(images=np.zeros((2, 8, 8, 3), np.uint8)), ConfigError, r'\(2, 8, 8, 3\); give uint8'),
        (dict(images=np.zeros((2, 16, 16, 3))), ConfigError, 'images are float64'),
        (dict(labels=[1]), ConfigError, 'labels: give one for each'),
        (
            dict(images=np.zeros((2, 16, 16, 3), np.uint8), labels=[1, 10]),
            DatasetError,
            'labels from 1 to 10 for a network of 10 classes',
        ),
        (dict(classes=['a']), ConfigError, 'the network has 10 classes'),
        (dict(exit_number=4), ConfigError, 'the exits 1 to 3'),
        (dict(transform=T.RandomHorizontalFlip()), ConfigError, 'RandomHorizontalFlip'),
        (dict(transform=T.Resize(16)), ConfigError, 'does not end with a tensor'),
        (dict(transform=T.Compose([T.ToTensor(), T.Resize(16)])), ConfigError, 'Resize'),
    ],
)  # fmt: skip
def test_bad_settings_of_the_export(model, tmp_path, settings, error, message):
    with pytest.raises(error, match=message):
        export_network(model, tmp_path / 'a.onnx', **{'transform': TRANSFORM, **settings})
    assert not list(tmp_path.iterdir())


def test_a_policy_of_another_network(model, found, tmp_path):
    other = PolicyFile(found.file.policy, 3, 11)
    with pytest.raises(ConfigError, match='3 exits and 11 classes'):
        export_network(model, tmp_path / 'a.onnx', TRANSFORM, other)
    with pytest.raises(ConfigError, match='3 exits and 11 classes'):
        ByotInferencer(model, transform=TRANSFORM, policy=other)


def test_the_inferencer_needs_a_transform(model):
    with pytest.raises(ConfigError, match='needs transform='):
        ByotInferencer(model)


def test_a_recipe_needs_no_transform(digits_network):
    with pytest.raises(ConfigError, match='the config prepares images'):
        ByotInferencer(digits_network, transform=TRANSFORM)
