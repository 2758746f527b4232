import numpy as np
import pytest
from exported import exported  # noqa: F401

from mmrazor_byot.deploy.runtime import DeployedNetwork
from mmrazor_byot.deploy.stage_costs import _leaving, split_costs, stage_costs


def test_split_by_hand():
    # Sections 5, 3, 2 and 4; heads 1, 0.5 and 0.25.
    alone = [5 + 1, 8 + 0.5, 10 + 0.25, 14]
    everything = [6, 9.5, 11.75, 15.75]
    costs = split_costs(alone, everything)
    assert costs['sections'] == [5, 3, 2, 4]
    assert costs['heads'] == [1, 0.5, 0.25, 0]


def test_heads_never_earn_time():
    heads = split_costs([3, 5, 7], [3, 4.9, 7.2])['heads']
    assert heads == pytest.approx([0, 0.2, 0])


@pytest.mark.parametrize('read', [False, True])
@pytest.mark.parametrize('number', [1, 2, 3, 4])
def test_everyone_leaves_where_asked(exported, number, read):  # noqa: F811
    network = DeployedNetwork(exported, threads=1)
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    outcome = network.run(images, _leaving(number, 4, read))
    assert outcome.exits.tolist() == [number] * 3
    seen = ~np.isnan(outcome.exit_scores[0, :, 0])
    expected = [(read and i < number) or i == number for i in range(1, 5)]
    assert seen.tolist() == expected


def test_costs_add_up(exported):  # noqa: F811
    network = DeployedNetwork(exported, threads=1)
    costs = stage_costs(network, np.zeros((1, 32, 32, 3), np.uint8), 1e-9)
    assert costs['unit'] == 'ms' and costs['heads'][-1] == 0
    assert len(costs['fixed']) == len(costs['sections']) == 4
    assert 0 < costs['fixed'][0] < costs['fixed'][-1] < 1e3
    assert sum(costs['sections']) > costs['sections'][0] > 0
