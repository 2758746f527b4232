"""The policy in the graph decides as the policy in torch, on random scores."""

from itertools import product

import numpy as np
import onnx
import pytest
import torch
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info
from onnxruntime import InferenceSession

from mmrazor_byot.early_exit import (
    POLICY_TYPES,
    ConfidencePolicy,
    EntropyPolicy,
    ExitPolicy,
    FixedExitPolicy,
    MarginPolicy,
    PatiencePolicy,
    RecordedNetwork,
    StagedNetwork,
)
from mmrazor_byot.errors import ConfigError, NonFiniteOutputError
from mmrazor_byot.export.graph import early_exit_graph
from mmrazor_byot.export.policy_nodes import (
    check_supported,
    default_thresholds,
    used_exits,
)
from mmrazor_byot.export.preprocessing import preprocessing
from mmrazor_byot.export.stages import ExportedStage, export_stages

EXITS, CLASSES = 4, 5
IMAGES = np.random.default_rng(0).integers(0, 256, (60, EXITS, CLASSES, 3), np.uint8)
#: An image's logits are its pixels: row i is exit i, and the first color counts.
LOGITS = torch.from_numpy(IMAGES[..., 0].astype(np.float32) / 48)

POLICIES = [
    policy(setting, temperatures=temperatures, ensemble=ensemble)
    for (policy, setting), temperatures, ensemble in product(
        [
            (ConfidencePolicy, 0.6234),
            (ConfidencePolicy, [0.5512, None, 0.6423]),
            (ConfidencePolicy, [None, None, 0.5231]),
            (MarginPolicy, 0.4321),
            (EntropyPolicy, 0.6123),
            (EntropyPolicy, [0.5523, 0.6012, None]),
            (PatiencePolicy, 1),
            (PatiencePolicy, 2),
            (PatiencePolicy, 3),
            (FixedExitPolicy, 3),
            (FixedExitPolicy, -1),
        ],
        [None, [0.5, 1.5, 0.8, 1.2]],
        [False, True],
    )
]


def stage(before: int, number: int) -> ExportedStage:
    """From one used exit to the next; the image itself is the state."""
    nodes = [
        make_node('Cast', ['image'], ['pixels'], to=onnx.TensorProto.FLOAT),
        make_node('Div', ['pixels', 'scale'], ['all']),
        make_node('Gather', ['all', 'color'], ['first'], axis=3),
        make_node('Gather', ['first', 'row'], [f'logits_{number}'], axis=1),
    ]
    constants = [
        onnx.numpy_helper.from_array(np.float32(48), 'scale'),
        onnx.numpy_helper.from_array(np.array(0), 'color'),
        onnx.numpy_helper.from_array(np.array(number - 1), 'row'),
    ]
    image = make_tensor_value_info('image', onnx.TensorProto.UINT8, ['N', EXITS, CLASSES, 3])
    logits = make_tensor_value_info(f'logits_{number}', onnx.TensorProto.FLOAT, ['N', CLASSES])
    graph = make_graph(nodes, f'stage_{number}', [image], [logits], constants)
    model = make_model(graph, opset_imports=[make_opsetid('', 18)], ir_version=8)
    return ExportedStage(model, ['image'], ['image'], number, EXITS, CLASSES, (EXITS, CLASSES))


def session(policy, all_scores=False):
    exits = used_exits(policy, EXITS)
    stages = [stage(before, number) for before, number in zip([0, *exits], exits)]
    return InferenceSession(early_exit_graph(stages, policy, all_scores).SerializeToString())


def run(network, images, thresholds):
    feed = dict(image=images)
    if len(network.get_inputs()) == 2:
        feed['thresholds'] = np.array(thresholds, np.float32)
    return network.run(None, feed)


@pytest.mark.parametrize('policy', POLICIES, ids=lambda p: '-'.join(map(str, p.config().values())))
@pytest.mark.parametrize('all_scores', [False, True])
def test_the_graph_decides_as_torch(policy, all_scores):
    expected = RecordedNetwork(LOGITS).run(policy)
    network = session(policy, all_scores)
    thresholds = default_thresholds(policy, EXITS)
    found = run(network, IMAGES, thresholds)
    assert found[1].dtype == np.int64
    np.testing.assert_array_equal(found[1], expected.exits)
    np.testing.assert_allclose(found[0], expected.scores, atol=1e-6)
    if all_scores:
        np.testing.assert_allclose(found[2], expected.exit_scores, atol=1e-6)
    for i in range(12):
        alone = run(network, IMAGES[i : i + 1], thresholds)
        for one, batch in zip(alone, found):
            np.testing.assert_allclose(one[0], batch[i], atol=1e-6)
    many = not isinstance(policy, FixedExitPolicy) and getattr(policy, 'patience', 2) > 1
    assert (len(set(found[1])) > 1) == many  # or this would prove nothing


@pytest.mark.parametrize('kind', [ConfidencePolicy, MarginPolicy, EntropyPolicy])
def test_thresholds_force_any_exit(kind):
    network = session(kind(0.5))
    # All classes alike: the least confident image there can be; and the most confident.
    images = np.stack([np.zeros_like(IMAGES[0]), IMAGES[0], IMAGES[0]])
    images[2, :, 0] = 255
    images[2, :, 1:] = 0
    for number in (1, 2, 3, 4):
        thresholds = [1.001] * (number - 1) + [0] * (4 - number)
        assert run(network, images, thresholds)[1].tolist() == [number] * 3


def test_a_head_that_is_not_read_is_not_there():
    policy = ConfidencePolicy([0.5, None, None])
    assert used_exits(policy, EXITS) == [1, 4]
    network = session(policy)
    assert network.get_inputs()[1].shape == [1]
    assert set(run(network, IMAGES, [0.6])[1]) == {1, 4}


def test_entropies_become_confidences():
    assert default_thresholds(EntropyPolicy([0.25, None, 0.5]), 4) == [0.75, 0.5]
    assert default_thresholds(EntropyPolicy([0.25, None, 0.5], ensemble=True), 4) == [0.75, 2, 0.5]
    assert default_thresholds(MarginPolicy(0.25), 4) == [0.25] * 3
    assert default_thresholds(PatiencePolicy(2), 4) == []


def test_nan_is_no_answer():
    """Of an exit that is read, by an image that reaches it."""
    logits = LOGITS[:3].clone()
    logits[1, 1] = float('nan')
    network = RecordedNetwork(logits)
    for policy in (ConfidencePolicy(0.0), ConfidencePolicy([1.0, None, 1.0]), FixedExitPolicy(3)):
        assert network.run(policy).scores.isfinite().all()
    for policy in (ConfidencePolicy([1.0, 0.0, 1.0]), FixedExitPolicy(2), PatiencePolicy(2)):
        with pytest.raises(NonFiniteOutputError, match='exit 2 answers with NaN .* 1 of 3 images'):
            network.run(policy)


def test_a_policy_of_ones_own_is_refused():
    class Own(ExitPolicy):
        pass

    with pytest.raises(ConfigError, match='Own cannot be exported'):
        check_supported(Own())
    POLICY_TYPES.pop('Own')


def conv_floats(*shapes) -> int:
    """Weights and biases of convolutions and linear layers."""
    return sum(int(np.prod(shape)) + shape[0] for shape in shapes)


#: The digits network; batch norms have become biases.
STEM = conv_floats((8, 3, 3, 3))
SECTIONS = [
    STEM + conv_floats(*[(8, 8, 3, 3)] * 4),
    conv_floats((16, 8, 3, 3), *[(16, 16, 3, 3)] * 3, (16, 8, 1, 1)),
    conv_floats((32, 16, 3, 3), *[(32, 32, 3, 3)] * 3, (32, 16, 1, 1)),
    conv_floats((64, 32, 3, 3), *[(64, 64, 3, 3)] * 3, (64, 32, 1, 1)),
]
HEADS = [
    conv_floats((mid, c, 1, 1), (mid, mid, k, k), (64, mid, 1, 1), (10, 64))
    for c, mid, k in ((8, 8, 8), (16, 16, 4), (32, 16, 2))
] + [conv_floats((10, 64))]


def floats(graph, inner: bool = True) -> int:
    """How many float weights a graph carries that are not scalars or constants of a policy."""
    total = sum(
        int(np.prod(array.dims))
        for array in graph.initializer
        if array.data_type == onnx.TensorProto.FLOAT and array.dims
    )
    if inner:
        for node in graph.node:
            total += sum(floats(a.g) for a in node.attribute if a.type == a.GRAPH)
    return total


def test_each_level_holds_its_own_weights(digits_stages):
    model = early_exit_graph(digits_stages, ConfidencePolicy(0.9))
    assert model.ir_version == 8
    assert [(x.domain, x.version) for x in model.opset_import] == [('', 18)]
    normalise = 2 * 3 + 2 * 3  # mean and variance, and the scale and bias of the node
    graph, found = model.graph, []
    while True:
        found.append(floats(graph, inner=False))
        branches = [n for n in graph.node if n.op_type == 'If']
        if not branches:
            break
        (node,) = branches
        graph = {a.name: a.g for a in node.attribute}['else_branch']
    expected = [section + head for section, head in zip(SECTIONS, HEADS)]
    expected[0] += normalise
    assert found == expected


def test_it_is_small_and_plain(digits_stages):
    model = early_exit_graph(digits_stages, ConfidencePolicy(0.9))
    weights = 4 * (sum(SECTIONS) + sum(HEADS))
    assert weights < model.ByteSize() < weights + 16 * 1024
    kinds = [n.op_type for n in model.graph.node]
    assert kinds.count('AveragePool') == kinds.count('BatchNormalization') == 1
    assert kinds.count('If') == 1 and 'Range' not in kinds
    assert not any(n.name or n.doc_string or n.metadata_props for n in model.graph.node)


@pytest.mark.parametrize('number', [1, 3, 4])
def test_a_cut_network_has_no_if(digits_network, number):
    prepare = preprocessing(digits_network._config, digits_network)
    stages = export_stages(StagedNetwork(digits_network), prepare, [number])
    model = early_exit_graph(stages, FixedExitPolicy(number))
    kinds = [n.op_type for n in model.graph.node]
    assert 'If' not in kinds and 'GatherND' not in kinds
    assert [x.name for x in model.graph.input] == ['image']
    assert floats(model.graph) == sum(SECTIONS[:number]) + HEADS[number - 1] + 12
