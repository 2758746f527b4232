"""The comparison with earlyon, on a tiny network."""

import argparse

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip('earlyon', reason='only the benchmark needs it')

import retrofit  # noqa: E402
from retrofit_methods import METHODS, count_lines  # noqa: E402
from retrofit_tasks import Images, Task, normalize, train_classifier  # noqa: E402

from mmrazor_byot.exits import BottleneckHead  # noqa: E402


class Tiny(nn.Module):
    """Maps of 4 x 8 x 8 and 8 x 4 x 4."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, 1, 1), nn.Conv2d(4, 8, 3, 2, 1)
        self.fc = nn.Linear(8, 10)

    def forward(self, x):
        return self.fc(self.second(self.first(x).relu()).relu().mean((2, 3)))


@pytest.fixture(scope='module')
def task():
    """Digits 0 to 9 as gray levels in noise."""
    rng, labels = np.random.default_rng(0), np.arange(400) % 10
    array = rng.normal(25 * labels[:, None, None, None], 6, (400, 8, 8, 3)).clip(0, 255)
    images = Images(array.astype(np.uint8), labels)
    torch.manual_seed(0)
    parts = images.part(0, 200), images.part(200, 300), images.part(300, None)
    task = Task(
        Tiny(), ['first'], [BottleneckHead], normalize(128, 64), None, *parts, np.arange(100) < 50
    )
    train_classifier(task.net, task.loader(task.train, train=True), 20)
    return task


@pytest.fixture(scope='module')
def found(task, tmp_path_factory):
    folder = tmp_path_factory.mktemp('retrofit')
    settings = dict(network='tiny', views=8, epochs=2, peer_epochs=2, max_drop=5.0)
    args = argparse.Namespace(**settings, work_dir=folder / 'work')
    threads = torch.get_num_threads()
    found = retrofit.measure(task, args, folder)
    again = retrofit.measure(task, args, folder)  # its exits are those of the first
    torch.set_num_threads(threads)
    for name in METHODS:
        assert again[name] == found[name]
    return found


def test_accuracy_and_macs(found, task):
    with torch.no_grad():
        predicted = task.net(next(iter(task.loader(task.test.part(0, 50))))[0]).argmax(1)
    expected = 100 * (predicted.numpy() == task.test.labels[:50]).mean()
    first, second, linear = 4 * 27 * 64, 8 * 36 * 16, 80
    macs = first + second + linear
    assert found['macs'] == pytest.approx(macs, rel=0.05)  # with what pooling and bias count
    for name in METHODS:
        shallow, deepest = found[name]['exits']
        assert deepest['unseen_top1'] == pytest.approx(expected)
        assert deepest['macs_fraction'] == 1
        leaving, policy = found[name]['policy']['leaving'], found[name]['policy']
        assert sum(leaving) == pytest.approx(1)
        assert policy['top1'] >= deepest['top1'] - 30
    peer = found['earlyon']['exits'][0]['macs_fraction']
    assert peer == pytest.approx((first + 4 * 128 + 128 * 10) / found['macs'], rel=0.02)


def test_the_policy_of_the_peer_is_its_own(task):
    """Its decisions, replayed by our policy, are those of its inference."""
    peer = METHODS['earlyon'].attach(task.net, task.after, task.size, task.heads).eval()
    peer.config.confidence_thresholds, peer.config.temperatures['e0'] = [0.1105], 1.5
    images = next(iter(task.loader(task.test)))[0]
    with torch.no_grad():
        logits = torch.stack(peer(images, mode='training'), dim=1)
    outcome = retrofit.RecordedNetwork(logits).run(retrofit.peer_policy(peer))
    taken = [peer(image[None]).exit_taken for image in images]
    assert {0, -1} == set(taken)
    assert outcome.exits.tolist() == [1 if exit == 0 else 2 for exit in taken]


def test_table(found):
    text = retrofit.tables({**found, 'lines': dict(ours=4, earlyon=4)})
    accuracy, times = text.split('\n\n')
    assert accuracy.count('\n') == 1 + 1 + 2 * 2
    ms = found['onnxruntime_ms'][64]
    row = next(s for s in times.splitlines() if 'ONNX Runtime, batch 64' in s)
    assert f'{ms["policy"] / ms["network"]:.2f}' in row


def test_lines_of_the_user():
    assert {name: count_lines(method) for name, method in METHODS.items()} == dict(
        ours=4, earlyon=4
    )
