"""Every network of the recipes learns a step, predicts and resumes.

The network is the recipe's own, with its optimizer and its data's preprocessor; only the images are
smaller than ImageNet's.
"""

import copy

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmpretrain.structures import DataSample
from recipes import BYOT, load, with_slow

from mmrazor_byot.checkpoint import load_from_local
from mmrazor_byot.registry import MODELS

#: Swin's windows of 7 x 7 need that much of the last map.
SMALLEST = {'byot_swin-tiny_16xb64_in1k': 224}
THREE_STAGES = ('resnext29', 'wrn', 'pyramidnet')
BATCH = 4
#: Deeper networks of families that are here without them.
SLOW = ['resnet101', 'resnet152', 'wrn28', 'wrn44']


@pytest.mark.parametrize('name', with_slow(BYOT, SLOW))
def test_learns_predicts_and_resumes(name, tmp_path):
    if 'timm' in name:
        pytest.importorskip('timm')
    cfg = load(name)
    size = SMALLEST.get(name, min(cfg.model.input_size, 64))
    model = build(cfg, size)
    assert model.num_exits == 4 - any(net in name for net in THREE_STAGES)
    assert model.num_classes == cfg.data_preprocessor.num_classes

    data = batch(size, model.num_classes)
    optim_wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    learns_a_step(model, optim_wrapper, data)
    answers = predicts(model, data)

    path = str(tmp_path / 'checkpoint.pth')
    torch.save(dict(state_dict=model.state_dict(), optimizer=optim_wrapper.state_dict()), path)
    again = build(cfg, size)
    again.init_weights()  # as the Runner does before it resumes
    saved = load_from_local(path)
    again.load_state_dict(saved['state_dict'])
    torch.testing.assert_close(predicts(again, data), answers, rtol=0, atol=0)
    resumed = build_optim_wrapper(again, cfg.optim_wrapper)
    resumed.load_state_dict(saved['optimizer'])
    for network, wrapper in ((model, optim_wrapper), (again, resumed)):
        torch.manual_seed(1)  # drop path, and Mixup by NumPy
        np.random.seed(1)
        network.train()
        network.train_step(copy.deepcopy(data), wrapper)
    for key, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[key]), key


def learns_a_step(model, optim_wrapper, data):
    """The loss reaches all that is trained, and all of that moves."""
    before = {k: v.clone() for k, v in model.named_parameters()}
    reached = set()
    for name, parameter in model.named_parameters():
        parameter.register_hook(lambda g, name=name: g.any() and reached.add(name))
    for group in optim_wrapper.param_groups:
        group['lr'] *= 0.01  # as in a warm-up: four images teach wild steps
    model.train()
    log = model.train_step(data, optim_wrapper)
    terms = sum(len(losses) for losses in model.exit_losses)
    assert len(log) == 2 + terms >= 2 + 2 * (model.num_exits - 1)
    assert all(torch.isfinite(value) for value in log.values())
    assert set(before) - reached == set()
    assert [k for k, v in model.named_parameters() if torch.equal(v, before[k])] == []


def predicts(model, data) -> torch.Tensor:
    """Softmax of every exit, (N, C, K)."""
    model.eval()
    with torch.no_grad():
        samples = model.test_step(data)
    scores = torch.stack([sample.exit_scores for sample in samples])
    assert scores.shape == (BATCH, model.num_exits, model.num_classes)
    torch.testing.assert_close(scores.sum(-1), torch.ones(BATCH, model.num_exits))
    assert all(torch.equal(sample.pred_score, sample.exit_scores[-1]) for sample in samples)
    return scores


def build(cfg: Config, size: int):
    settings = dict(input_size=size, data_preprocessor=cfg.data_preprocessor.to_dict())
    return MODELS.build({**cfg.model.to_dict(), **settings})


def batch(size: int, num_classes: int) -> dict:
    images = torch.randint(0, 256, (BATCH, 3, size, size), dtype=torch.uint8)
    labels = torch.arange(BATCH) * num_classes // BATCH
    samples = [DataSample().set_gt_label(label[None]) for label in labels]
    return dict(inputs=images, data_samples=samples)
