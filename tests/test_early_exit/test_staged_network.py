"""Section by section is the whole network; what comes after an exit does not run."""

import logging

import pytest
import torch
from lively import lively, recipe_network
from mmengine.analysis import FlopAnalyzer
from recipes import BYOT, load, with_slow
from torch.utils.flop_counter import FlopCounterMode

from mmrazor_byot.early_exit import StagedNetwork
from mmrazor_byot.errors import ConfigError
from mmrazor_byot.evaluation.complexity import CutNetwork
from mmrazor_byot.registry import MODELS

#: Half a minute each to trace, or the same network as another's.
SLOW = ['efficientnet', 'mobilenet', 'pyramidnet', 'resnet101', 'resnet152', 'resnet50_8xb32']
SLOW += ['swin', 'byot_logits', '8xb16_tin32', 'vgg19bn_8xb32', 'wrn28', 'wrn44']
#: Multiply-adds that torch counts too; it leaves norms and pooling out.
PRODUCTS = ('conv', 'linear', 'matmul')


@torch.no_grad()
@pytest.mark.parametrize('name', with_slow(BYOT, SLOW))
def test_recipe(name, monkeypatch):
    if 'timm' in name:
        pytest.importorskip('timm')
    if 'tin32' in name:
        monkeypatch.setenv('TIN32', 'none.npz')  # the network needs no data
    # In float32, what a product is rounded to depends on the batch.
    model = recipe_network(name).double()
    same_logits_and_no_more_work(model)


def same_logits_and_no_more_work(model):
    """The contract of a staged network."""
    network = StagedNetwork(model)
    assert network.num_exits == model.num_exits == len(network.heads)
    assert network.num_classes == model.num_classes
    assert network.input_size == model.input_size
    images = torch.randn(5, *model.input_size).double()
    expected = model(images)
    for logits in expected:
        assert (logits - logits.mean(0)).norm() > 0.02 * logits.norm()
    for logits, whole in zip(network(images), expected):
        close(logits, whole)
    same_when_samples_leave(network, images, expected)
    same_when_alone(network, images, expected)
    only_what_is_needed_runs(network, images[:1])
    flops_are_those_of_the_cut_network(network, model, images[:1])


def close(logits, expected):
    """Equal but for rounding, against the largest of the logits."""
    assert logits.shape == expected.shape
    assert (logits - expected).abs().max() <= 1e-6 * expected.abs().max()


def same_when_samples_leave(network, images, expected):
    state, alive = (images,), torch.arange(5)
    for number, keep in enumerate(([3, 0, 4], [2, 0], [1], [0])[: network.num_exits], start=1):
        state, logits = network.stage(number, state)
        close(logits, expected[number - 1][alive])
        state, alive = tuple(x[keep] for x in state), alive[keep]
    assert state == ()


def same_when_alone(network, images, expected):
    state = (images[1:2],)
    for number, whole in enumerate(expected, start=1):
        state, logits = network.stage(number, state)
        close(logits, whole[1:2])


def only_what_is_needed_runs(network, image):
    ran = []
    hooks = [
        module.register_forward_hook(lambda *_, name=f'{kind} {i}': ran.append(name))
        for kind, modules in (('trunk', network.trunks), ('head', network.heads))
        for i, module in enumerate(modules, start=1)
    ]
    deepest = network.num_exits
    state, _ = network.stage(1, (image,))
    assert ran == ['trunk 1', 'head 1']
    for number in range(2, deepest):
        ran.clear()
        state, logits = network.stage(number, state, read=False)
        assert logits is None and ran == [f'trunk {number}']
    ran.clear()
    network.stage(deepest, state)
    assert ran == [f'head {deepest}']
    for hook in hooks:
        hook.remove()


def flops_are_those_of_the_cut_network(network, model, image):
    """What is truly executed, against the count of what is needed."""
    state, on_the_way = (image,), 0
    for number in range(1, network.num_exits + 1):
        read = executed(network, number, state)
        assert on_the_way + read == 2 * needed(model, number, image)
        if number < network.num_exits:
            on_the_way += executed(network, number, state, read=False)
            state, _ = network.stage(number, state, read=False)


def executed(network, *stage, **options):
    """FLOPs as torch counts them, two for a multiply-add."""
    with FlopCounterMode(display=False) as counter:
        network.stage(*stage, **options)
    return counter.get_total_flops()


def needed(model, number, image):
    """Multiply-adds of the network cut at an exit."""
    logging.getLogger('mmengine').setLevel(logging.ERROR)
    cut = FlopAnalyzer(CutNetwork(model, [number - 1]), image)
    cut.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    counts = cut.by_operator()
    return sum(counts[name] for name in PRODUCTS)


@torch.no_grad()
def test_shifted_windows(build_byot, tiny_architecture):
    """Swin with two blocks of windows, the second of them shifted."""
    tiny_architecture['backbone'] = dict(
        type='SwinTransformer',
        img_size=56,
        pad_small_map=True,
        arch=dict(embed_dims=8, depths=[2, 1], num_heads=[1, 2]),
    )
    tiny_architecture['head']['in_channels'] = None
    model = lively(build_byot(sections=(0, 1), input_size=56))
    same_logits_and_no_more_work(model.double())


@torch.no_grad()
def test_checkpointed_backbone(build_byot, tiny_architecture):
    tiny_architecture['backbone']['with_cp'] = True
    same_logits_and_no_more_work(lively(build_byot()).double())


@pytest.fixture
def model(build_byot):
    return lively(build_byot())


@pytest.fixture
def images():
    return torch.randn(6, 3, 32, 32)


@torch.no_grad()
def test_in_float32_it_is_the_model_bit_for_bit(model, images):
    for logits, expected in zip(StagedNetwork(model)(images), model(images)):
        assert logits.dtype == torch.float32
        assert torch.equal(logits, expected)


@torch.no_grad()
def test_in_half_precision(model, images):
    model.bfloat16()
    state, logits = StagedNetwork(model).stage(1, (images.bfloat16(),))
    assert {x.dtype for x in (*state, logits)} == {torch.bfloat16}
    assert torch.equal(logits, model(images.bfloat16())[0])


@torch.no_grad()
@pytest.mark.parametrize(
    'name',
    [
        'architecture.backbone.conv1.weight',
        'architecture.backbone.layer3.0.bn1.running_mean',
        'exit_heads.2.fc.bias',
        'architecture.head.fc.weight',
    ],
)
def test_weights_are_shared(model, images, name):
    network = StagedNetwork(model)
    before = network(images)
    dict(model.state_dict())[name].add_(0.5)
    after = network(images)
    assert all(map(torch.equal, after, model(images)))
    assert any((a != b).all() for a, b in zip(after, before))


def test_model_in_training_is_left_as_it_was(model, images):
    with torch.no_grad():
        expected = model(images)
    model.train()
    model.exit_heads[0].eval()
    training = {k: m.training for k, m in model.named_modules()}
    state = {k: v.clone() for k, v in model.state_dict().items()}
    assert all(map(torch.equal, StagedNetwork(model)(images), expected))
    assert {k: m.training for k, m in model.named_modules()} == training
    for key, value in model.state_dict().items():
        assert torch.equal(value, state[key]), key
    assert all(p.requires_grad for p in model.parameters())


def test_plain_classifier():
    model = MODELS.build(load('plain_resnet18_2xb64_digits').model)
    with pytest.raises(ConfigError, match='^ImageClassifier has one exit: '):
        StagedNetwork(model)
