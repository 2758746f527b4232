"""Cutting traced networks between their exits."""

import pytest
import torch
import toys

from mmrazor_byot.early_exit import StagedNetwork
from mmrazor_byot.errors import ConfigError

CUTTABLE = [
    toys.several_cross,
    toys.only_parts_of_a_tuple_cross,
    toys.constants_on_both_sides,
    toys.size_taken_from_the_images,
    toys.exit_needs_a_shallower_answer,
    toys.exit_goes_back_before_the_last_one,
    toys.changed_in_place,
]


def name_of(value):
    return getattr(value, '__name__', '')


def toy_network(exits):
    count = 3 if exits is toys.exit_goes_back_before_the_last_one else 2
    toy = toys.Toy(exits, count).double()
    return toy, StagedNetwork(toy)


@torch.no_grad()
@pytest.mark.parametrize('exits', CUTTABLE, ids=name_of)
@pytest.mark.parametrize('keep', [[4, 1], [2], [0, 1, 2, 3, 4]])
def test_same_logits_when_samples_leave(exits, keep):
    toy, network = toy_network(exits)
    images = torch.randn(5, 3, 8, 8).double()
    before, expected = images.clone(), toy(images)
    assert not torch.allclose(expected[0], expected[1], atol=0.01)
    state, logits = network.stage(1, (images,))
    assert torch.equal(images, before)
    torch.testing.assert_close(logits, expected[0])
    for number in range(2, toy.num_exits + 1):
        assert all(len(part) == 5 for part in state)
        part, logits = network.stage(number, tuple(x[keep] for x in state))
        torch.testing.assert_close(logits, expected[number - 1][keep])
        state, logits = network.stage(number, state)
        torch.testing.assert_close(logits, expected[number - 1])
    assert state == ()


@torch.no_grad()
@pytest.mark.parametrize('exits', CUTTABLE, ids=name_of)
def test_state_does_not_depend_on_what_is_read(exits):
    _, network = toy_network(exits)
    images = (torch.randn(3, 3, 8, 8).double(),)
    read, logits = network.stage(1, images)
    unread, nothing = network.stage(1, images, read=False)
    assert nothing is None and logits.shape == (3, 5)
    assert len(read) == len(unread) > 0
    assert all(torch.equal(a, b) for a, b in zip(read, unread))


@pytest.mark.parametrize(
    'exits, shapes',
    [
        (toys.several_cross, [(5, 4, 8, 8), (5, 4, 8, 8)]),
        (toys.only_parts_of_a_tuple_cross, [(5, 1, 8, 8), (5, 1, 8, 8), (5, 2, 8, 8)]),
        (toys.constants_on_both_sides, [(5, 4, 8, 8)]),
        (toys.size_taken_from_the_images, [(5, 4, 8, 8)]),
        (toys.exit_needs_a_shallower_answer, [(5, 4, 8, 8), (5, 5)]),
    ],
    ids=name_of,
)
def test_what_crosses_the_cut(exits, shapes):
    """Nothing that can be had again without the image."""
    _, network = toy_network(exits)
    state, _ = network.stage(1, (torch.randn(5, 3, 8, 8).double(),))
    assert sorted(tuple(x.shape) for x in state) == sorted(shapes)


@pytest.mark.parametrize(
    'exits, shape',
    [
        (toys.batch_comes_last, r'\(4, s\d+\)'),
        (toys.batch_of_two_comes_last, r'\(2, 64, s\d+\)'),
        (toys.parts_of_images_cross, r'\(2\*s\d+, 4, 4, 8\)'),
    ],
    ids=name_of,
)
def test_cut_where_samples_cannot_leave(exits, shape):
    with pytest.raises(ConfigError, match=f'cut after exit 1: .* crosses .* shape {shape}'):
        toy_network(exits)


@pytest.mark.parametrize(
    'exits, reason',
    [
        (toys.branches_on_the_image, 'data-dependent'),
        (toys.leaves_torch, 'numpy'),
        (toys.fixes_the_batch, 'batch'),
        (toys.fails_without_a_word, 'AssertionError'),
    ],
    ids=name_of,
)
def test_network_that_cannot_be_traced(exits, reason):
    with pytest.raises(ConfigError) as caught:
        toy_network(exits)
    message = str(caught.value)
    assert message.startswith('Toy cannot be cut into stages: torch.export could not trace it: ')
    assert reason in message and '\n' not in message
