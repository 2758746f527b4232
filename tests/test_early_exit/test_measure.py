import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from torch.utils.data import DataLoader

from mmrazor_byot.early_exit import (
    ConfidencePolicy,
    EarlyExit,
    FixedExitPolicy,
    StagedNetwork,
    softmax,
)
from mmrazor_byot.early_exit.measure import (
    evaluate_policy,
    format_policy_test,
    policy_flops,
    stage_times,
)
from mmrazor_byot.errors import DatasetError
from mmrazor_byot.evaluation import stage_flops
from mmrazor_byot.evaluation.collect import collect_logits


@pytest.fixture
def network(build_byot):
    model = build_byot()
    for head in [*model.exit_heads, model.architecture.head]:
        torch.nn.init.normal_(head.fc.weight, std=3.0)  # not all alike
    model.eval()
    return model


@pytest.fixture
def loader(batch):
    images, samples = batch(10)
    data = [dict(inputs=x, data_samples=s) for x, s in zip(images, samples)]
    return DataLoader(data, batch_size=4, collate_fn=pseudo_collate)


def test_logits_in_order(network, loader, batch):
    images, _ = batch(10)
    data = collect_logits(network, loader)
    with torch.no_grad():
        expected = torch.stack(network(images, mode='tensor'), 1)
    np.testing.assert_allclose(data.logits, expected, rtol=1e-4, atol=1e-5)
    assert data.labels.tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4]


def test_labels_that_are_not_classes(network, batch):
    images, samples = batch(2)
    samples[1].set_gt_label(7)
    data = [dict(inputs=x, data_samples=s) for x, s in zip(images, samples)]
    with pytest.raises(DatasetError, match='labels from 0 to 7'):
        collect_logits(network, DataLoader(data, collate_fn=pseudo_collate))


def test_flops_by_hand():
    nan = float('nan')
    outcome = EarlyExit(
        None,
        torch.tensor([1, 3, 3]),
        torch.tensor([[0.1, nan, nan], [0.2, 0.3, 0.4], [0.2, nan, 0.4]])[..., None],
    )
    costs = dict(sections=[5, 3, 2], heads=[0.5, 0.25, 0])
    assert policy_flops(costs, outcome).tolist() == [5.5, 10.75, 10.5]


def test_result_is_that_of_the_logits(network, loader):
    data = collect_logits(network, loader)
    scores = softmax(torch.from_numpy(data.logits)).numpy()
    policy = ConfidencePolicy(float(np.median(scores[:, 0].max(1))))
    confident = scores[:, :-1].max(2) >= policy.thresholds
    exits = np.where(confident.any(1), confident.argmax(1), 3)  # 0 to 3
    right = scores[np.arange(10), exits].argmax(1) == data.labels
    result = evaluate_policy(network, loader, policy)
    assert 0 < (exits == 0).mean() < 1
    assert result['images'] == 10
    assert result['top1'] == pytest.approx(100 * right.mean())
    assert result['exit_shares'] == [(exits == i).mean() for i in range(4)]
    costs = stage_flops(network, network.input_size)
    by_exit = np.cumsum(costs['sections']) + np.cumsum(costs['heads'])
    assert result['flops'] == pytest.approx(by_exit[exits].mean())
    assert result['flops_share'] == pytest.approx(by_exit[exits].mean() / sum(costs['sections']))
    deepest = scores[:, -1].argmax(1) == data.labels
    assert result['deepest_top1'] == pytest.approx(100 * deepest.mean())
    for i, accuracy in enumerate(result['exit_top1']):
        left = right[exits == i]
        assert accuracy == (pytest.approx(100 * left.mean()) if len(left) else None)
    assert [row['batch'] for row in result['time']] == [1, 64]
    for row in result['time']:
        assert row['images'] == 10 and row['policy_ms'] > 0
        assert row['share'] == row['policy_ms'] / row['deepest_ms']
    text = format_policy_test(result, policy)
    assert f'{result["top1"]:.2f} %' in text
    assert f'{result["flops_share"]:.3f} of the deepest' in text


def test_deepest_exit_is_the_whole_cost(network, loader):
    result = evaluate_policy(network, loader, FixedExitPolicy())
    assert result['flops_share'] == 1  # no head is read on the way
    assert result['exit_shares'] == [0, 0, 0, 1]
    assert result['top1'] == result['deepest_top1']


def test_times_of_the_stages(network, batch):
    times = stage_times(StagedNetwork(network), batch(1)[0])
    assert len(times['sections']) == len(times['heads']) == 4
    assert min(times['sections']) > 0 and min(times['heads']) >= 0 and times['heads'][3] == 0
