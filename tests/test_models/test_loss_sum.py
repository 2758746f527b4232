"""The sum of the losses, against MMEngine's."""

import pytest
import torch
from mmengine.model import BaseModel


def leaves(**values):
    return {
        name.replace('_', '.', 1): torch.tensor(v, requires_grad=True) for name, v in values.items()
    }


TEN = dict(
    zip(
        [f'exit{i}_{kind}_loss' for i in range(1, 4) for kind in ('label', 'logit', 'hint')]
        + ['exit4_label_loss'],
        torch.randn(10, generator=torch.Generator().manual_seed(0)).tolist(),
    )
)


@pytest.mark.parametrize(
    'losses',
    [
        leaves(**TEN),
        leaves(a_loss=1.5),
        leaves(loss=2.5),
        leaves(a_loss=1.5, b_loss=float('inf')),
        dict(leaves(a_loss=1.5), accuracy=torch.tensor(0.5)),
        dict(leaves(a_loss=1.5), b_loss=torch.ones(3, requires_grad=True)),
        dict(leaves(a_loss=1.5), c_loss=list(leaves(x=1.0, y=2.0).values())),
        dict(leaves(a_loss=1.5), b_loss=torch.tensor(2.0).half()),
        dict(leaves(a_loss=1.5), b_loss=torch.tensor(2.0).double()),
    ],
    ids=lambda losses: ' '.join(losses)[:30],
)
def test_as_mmengine(build_byot, losses):
    """Numbers, their order, and the gradients."""
    model = build_byot()
    found = {}
    for name, parse in (('theirs', BaseModel.parse_losses), ('ours', type(model).parse_losses)):
        total, log = parse(model, losses)
        flat = [
            v
            for value in losses.values()
            for v in (value if isinstance(value, list) else [value])
            if v.requires_grad
        ]
        found[name] = total, log, torch.autograd.grad(total, flat)
    (total, log, grads), (their_total, their_log, their_grads) = (found['ours'], found['theirs'])
    torch.testing.assert_close(total, their_total)
    assert list(log) == list(their_log)
    for name in log:
        torch.testing.assert_close(log[name], their_log[name], msg=name)
    assert all(map(torch.equal, grads, their_grads))


def test_the_sum_of_ten(build_byot):
    total, log = build_byot().parse_losses(leaves(**TEN))
    assert total.item() == pytest.approx(sum(TEN.values()), rel=1e-6)
    assert not any(v.requires_grad for v in log.values())
    assert [v.item() for v in log.values()][1:] == [torch.tensor(v).item() for v in TEN.values()]


def test_what_is_no_tensor_is_refused(build_byot):
    with pytest.raises(TypeError, match='b_loss is not a tensor'):
        build_byot().parse_losses(dict(leaves(a_loss=1.0), b_loss=0.5))
