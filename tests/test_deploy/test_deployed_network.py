"""The runtime: stages, policies, precisions."""

import json

import numpy as np
import onnx
import pytest
from exported import POLICY, digits_test, exported  # noqa: F401

from mmrazor_byot.deploy.runtime import DeployedNetwork
from mmrazor_byot.errors import ConfigError
from mmrazor_byot.policies import (
    ConfidencePolicy,
    FixedExitPolicy,
    PatiencePolicy,
)


@pytest.fixture(scope='module')
def network(exported):  # noqa: F811
    return DeployedNetwork(exported, threads=1)


def probabilities(network, images):
    """Softmax of every exit of the cut models, (N, C, K)."""
    logits = np.stack([network.exit_logits(i, images) for i in (1, 2, 3, 4)], axis=1).astype(
        np.float64
    )
    powers = np.exp(logits)
    return powers / powers.sum(-1, keepdims=True)


def test_compaction_changes_no_answer(network):
    images, _ = digits_test()
    outcome = network.run(images)  # by the exported policy
    all_exits = probabilities(network, images)
    sure = all_exits.max(-1)
    exits = np.where(sure[:, 0] >= 0.95, 1, np.where(sure[:, 2] >= 0.9, 3, 4))
    assert set(exits) == {1, 3, 4}  # each of them leaves someone
    np.testing.assert_array_equal(outcome.exits, exits)
    np.testing.assert_allclose(
        outcome.scores, all_exits[np.arange(len(images)), exits - 1], atol=1e-5
    )
    assert np.isnan(outcome.exit_scores[:, 1]).all()  # its head was not run


def test_the_exported_policy_is_the_default(network):
    assert network.policy.config() == POLICY.config()


def test_unread_heads_are_not_run(exported):  # noqa: F811
    network = DeployedNetwork(exported, threads=1)
    network.run(digits_test()[0][:3], ConfidencePolicy([None, 1.0, None]))
    assert sorted(network._models) == [
        ('exit', 1),
        ('stage', 2),
        ('stage', 4),
        ('trunk', 1),
        ('trunk', 3),
    ]


def test_a_fixed_exit_takes_the_cut_model(network, monkeypatch):
    monkeypatch.setattr(DeployedNetwork, 'stage', None)
    images = digits_test()[0][:6]
    for number, policy in ((2, FixedExitPolicy(2)), (4, FixedExitPolicy())):
        outcome = network.run(images, policy)
        np.testing.assert_allclose(
            outcome.scores, probabilities(network, images)[:, number - 1], atol=1e-6
        )
        assert outcome.exits.tolist() == [number] * 6
        others = [i for i in range(4) if i != number - 1]
        assert np.isnan(outcome.exit_scores[:, others]).all()


def test_ensembles_and_patience(network):
    images = digits_test()[0][:50]
    all_exits = probabilities(network, images)
    outcome = network.run(images, FixedExitPolicy(3, ensemble=True))
    np.testing.assert_allclose(outcome.scores, all_exits[:, :3].mean(1), atol=1e-5)
    labels = all_exits.argmax(-1)
    exits = network.run(images, PatiencePolicy(2)).exits
    same = labels[:, 1:] == labels[:, :-1]
    expected = np.where(same.any(1), same.argmax(1) + 2, 4)
    np.testing.assert_array_equal(exits, expected)


def test_int8_is_another_network_of_nearly_the_same_answers(exported, network):  # noqa: F811
    int8 = DeployedNetwork(exported, 'int8', threads=1)
    images, labels = digits_test()
    for number in (1, 2, 3, 4):
        small = exported / f'exit_{number}.int8.onnx'
        assert small.stat().st_size < (exported / f'exit_{number}.onnx').stat().st_size
        kinds = [n.op_type for n in onnx.load(small).graph.node]
        assert kinds.count('QuantizeLinear') > 5
        ours = int8.exit_logits(number, images)
        theirs = network.exit_logits(number, images)
        assert not np.array_equal(ours, theirs)
        assert (ours.argmax(1) == theirs.argmax(1)).mean() > 0.97
        assert (ours.argmax(1) == labels).mean() > 0.96
    outcome = int8.run(images)
    assert (outcome.scores.argmax(1) == labels).mean() > 0.96
    assert len(set(outcome.exits)) == 3


def test_int8_stages_answer_as_int8_exits(exported):  # noqa: F811
    int8 = DeployedNetwork(exported, 'int8', threads=1)
    images = digits_test()[0][:64]
    state = (images,)
    for number in (1, 2, 3, 4):
        next_state, logits = int8.stage(number, state)
        alone, _ = int8.stage(number, state, read=False)
        for one, other in zip(next_state, alone):
            np.testing.assert_allclose(one, other, atol=1e-5)
        cut = int8.exit_logits(number, images)
        assert (logits.argmax(1) == cut.argmax(1)).mean() > 0.95
        state = next_state


def test_the_manifest_holds_what_is_true(exported, network):  # noqa: F811
    manifest = json.loads((exported / 'manifest.json').read_text())
    assert manifest['classes'] == list('0123456789')
    assert manifest['input_size'] == [32, 32] and manifest['resize'] == []
    assert manifest['check']['images'] == 48
    assert manifest['check']['largest_difference'] < 1e-4
    images, labels = digits_test()
    scores = probabilities(network, images)
    for number in (1, 2, 3, 4):
        right = scores[:, number - 1].argmax(1) == labels
        row = manifest['results']['fp32'][number - 1]
        assert row['exit'] == f'{number}/4'
        assert row['top1'] == pytest.approx(right.mean() * 100, abs=1e-6)
    together = (scores.mean(1).argmax(1) == labels).mean() * 100
    assert manifest['results']['fp32'][4]['top1'] == pytest.approx(together)


def test_costs_of_stages_add_up(exported):  # noqa: F811
    manifest = json.loads((exported / 'manifest.json').read_text())
    reached = 0
    for stage, cost in zip(manifest['stages'], manifest['exits']):
        reached += stage['section_flops']
        assert reached + stage['head_flops'] == cost['flops']
    # 8 -> 64 and 64 -> 10 behind an 8 x 8 window: convolutions alone are
    head = 32 * 32 * 8 * 8 + 16 * 8 * 8 * 64 + 16 * 8 * 64 + 64 * 10
    assert head < manifest['stages'][0]['head_flops'] < 1.2 * head


@pytest.mark.parametrize(
    'images',
    [
        np.zeros((2, 32, 32, 3), np.float32),
        np.zeros((2, 3, 32, 32), np.uint8),
        np.zeros((32, 32, 3), np.uint8),
        np.zeros((0, 32, 32, 3), np.uint8),
        [[0]],
    ],
)
def test_wrong_images(network, images):
    with pytest.raises(ConfigError, match=r'uint8 array \(N, 32, 32, 3\)'):
        network.run(images)


def test_wrong_settings(exported, network):  # noqa: F811
    with pytest.raises(ConfigError, match="precision='fp16'"):
        DeployedNetwork(exported, 'fp16')
    with pytest.raises(ConfigError, match='threads=0'):
        DeployedNetwork(exported, threads=0)
    with pytest.raises(ConfigError, match='the network has 4 exits'):
        network.run(digits_test()[0][:1], FixedExitPolicy(5))
