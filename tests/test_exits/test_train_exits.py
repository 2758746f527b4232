"""The short training of exits on kept feature maps."""

import pytest
import torch
from small import AFTER, SIZE, images, labelled, trained
from torch.nn import functional as F
from torch.utils.data import DataLoader

from mmrazor_byot.errors import ConfigError
from mmrazor_byot.exits import StridedHead, add_exits, keep_maps, train_exits

LOGITS_ONLY = dict(label_loss=None, hint_loss=None, freeze=True)


def model_and_maps(pictures, **settings):
    torch.manual_seed(0)
    model = add_exits(trained(), AFTER, SIZE, StridedHead, **(settings or LOGITS_ONLY))
    return model, keep_maps(model, DataLoader(pictures, 64))


def test_exits_learn_the_answers_of_the_network():
    """Without labels; images that they were not trained on."""
    model, maps = model_and_maps(labelled(100, 1)[0])
    before = {name: x.clone() for name, x in model.net.state_dict().items()}
    losses = train_exits(model, maps, epochs=16, lr=0.01, batch_size=20)
    assert len(losses) == 16 and losses[-1] < losses[0] / 2
    with torch.no_grad():
        *shallow, deepest = (z.argmax(1) for z in model(labelled(200, 2)[0]))
    assert all((exit == deepest).float().mean() > 0.6 for exit in shallow)  # 0.2 by chance
    assert not any(module.training for module in model.modules())
    assert all(torch.equal(x, before[name]) for name, x in model.net.state_dict().items())


def test_the_loss_of_an_epoch_is_a_mean():
    """Of one batch with all images, in training mode, at a learning rate that changes nothing."""
    x = images(12)
    model, maps = model_and_maps(x)
    with torch.no_grad():
        *shallow, deepest = model.train()(x)
    p = (deepest / 3).softmax(1)
    divergence = [F.kl_div((z / 3).log_softmax(1), p, reduction='batchmean') for z in shallow]
    expected = 0.3 * 9 * sum(divergence).item()
    assert train_exits(model, maps, 2, lr=1e-12, batch_size=12) == pytest.approx([expected] * 2)


def test_labels_are_used_if_there_are_any():
    pictures, labels = labelled(50, 1)
    wrong = (labels + 1) % 5
    model = add_exits(trained(), AFTER, SIZE, StridedHead, logit_loss=None, freeze=True)
    loader = DataLoader(list(zip(pictures, wrong)), 64)
    train_exits(model, keep_maps(model, loader), epochs=30, lr=0.01, batch_size=25)
    with torch.no_grad():
        *shallow, _ = (z.argmax(1) for z in model(pictures))
    assert all((exit == wrong).float().mean() > 0.8 for exit in shallow)


def test_no_epoch():
    model, maps = model_and_maps(images())
    with pytest.raises(ConfigError, match='train_exits: epochs=0; at least 1'):
        train_exits(model, maps, 0)
