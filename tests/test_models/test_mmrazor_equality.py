"""MMRazor's own BYOT and ours are one and the same network and loss."""

import math

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import load_state_dict
from mmpretrain.structures import DataSample
from peers import mmrazor_config
from run import RECIPES

from mmrazor_byot.models.mmrazor_keys import rename_mmrazor_keys
from mmrazor_byot.registry import MODELS

RECIPE = RECIPES / 'byot_mmrazor_resnet18_8xb16_cifar100.py'

#: Our name of each loss term, and MMRazor's.
TERMS = {
    **{
        f'exit{i}.{ours}': f'distill.loss_{theirs}_{i}'
        for ours, theirs in (('label_loss', 'label'), ('logit_loss', 'softl'), ('hint_loss', 'fet'))
        for i in (1, 2, 3)
    },
    'exit4.label_loss': 'student.loss',
}


def build_pair():
    """MMRazor's model, and ours with the same weights, both in training."""
    theirs = MODELS.build(mmrazor_config())
    ours = MODELS.build(Config.fromfile(RECIPE).model)
    state = theirs.state_dict()
    # Trained once: batch norms with other statistics than at the start.
    for name, value in state.items():
        if name.endswith('running_var'):
            value.uniform_(0.5, 2)
    load_state_dict(ours, state, strict=True)
    return theirs.train(), ours.train()


@pytest.fixture(scope='module', params=['float32', 'float64'])
def step(request):
    """Both models after the forward and backward pass of the same batch."""
    dtype = getattr(torch, request.param)
    init_default_scope('mmpretrain')
    torch.manual_seed(0)
    theirs, ours = (model.to(dtype) for model in build_pair())
    before = {name: value.clone() for name, value in theirs.state_dict().items()}
    images = torch.randn(6, 3, 32, 32).to(dtype)
    samples = [DataSample().set_gt_label(torch.tensor([7 * i])) for i in range(6)]
    losses = [model.loss(images, samples) for model in (theirs, ours)]
    for terms in losses:
        sum(terms.values()).backward()
    return theirs, ours, *losses, rename_mmrazor_keys(before)


def test_every_loss_term(step):
    _, _, theirs, ours, _ = step
    assert theirs.keys() == set(TERMS.values())
    # Theirs has weight 0, ours is not there.
    assert TERMS.keys() - ours.keys() == {'exit3.hint_loss'}
    assert theirs['distill.loss_fet_3'] == 0
    for name, value in ours.items():
        expected = theirs[TERMS[name]]
        assert value.item() > 0.01, name
        torch.testing.assert_close(value, expected, rtol=1e-5, atol=0, msg=name)


def test_every_gradient(step):
    theirs, ours, *_ = step
    expected = rename_mmrazor_keys({name: p.grad for name, p in theirs.named_parameters()})
    gradients = {name: p.grad for name, p in ours.named_parameters()}
    assert gradients.keys() == expected.keys()
    differences = {
        name: (gradient - expected[name]).norm().item() for name, gradient in gradients.items()
    }
    sizes = {name: expected[name].norm().item() for name in differences}
    assert math.hypot(*differences.values()) <= 1e-5 * math.hypot(*sizes.values())
    # A shift that a batch norm takes away again has gradient 0: in single precision all that is
    # left of it is rounding.
    if gradients['architecture.head.fc.weight'].dtype == torch.float64:
        for name, difference in differences.items():
            assert difference <= 1e-5 * sizes[name] + 1e-15, name


def test_their_heads_ran_three_times_and_ours_once(step):
    """The one difference: how often batch norm saw the batch."""
    theirs, ours, _, _, before = step
    theirs = rename_mmrazor_keys(theirs.state_dict())
    ours = ours.state_dict()
    counters = {name for name in ours if name.endswith('_tracked')}
    for name in counters:
        runs = 3 if name.startswith('exit_heads') else 1
        assert (ours[name], theirs[name]) == (1, runs), name
    for name in ours.keys() - counters:
        if not (name.startswith('exit_heads') and 'running_' in name):
            torch.testing.assert_close(ours[name], theirs[name], msg=name)
            continue
        # Each run moves the statistics a tenth of the way to the batch's.
        batch = before[name] + (ours[name] - before[name]) / 0.1
        thrice = batch + 0.9**3 * (before[name] - batch)
        torch.testing.assert_close(thrice, theirs[name], rtol=1e-4, atol=1e-5, msg=name)


def test_names_are_sorted_by_their_numbers():
    state = {f'distiller.connectors.loss_s{i}_sfeat.fc.weight': i for i in (10, 2, 1)}
    state['architecture.head.fc.weight'] = 0
    assert rename_mmrazor_keys(state) == {
        'exit_heads.0.fc.weight': 1,
        'exit_heads.1.fc.weight': 2,
        'exit_heads.2.fc.weight': 10,
        'architecture.head.fc.weight': 0,
    }
    assert 'distiller.connectors.loss_s10_sfeat.fc.weight' in state
    prefixed = rename_mmrazor_keys({f'module.{k}': v for k, v in state.items()}, 'module.')
    assert prefixed['module.exit_heads.2.fc.weight'] == 10


def test_our_own_names_stay():
    for state in (
        {'exit_heads.0.fc.weight': 1, 'architecture.x': 2},
        {'exit_heads.0.x': 1, 'distiller.connectors.s1.x': 2},
    ):
        assert rename_mmrazor_keys(state) == state
