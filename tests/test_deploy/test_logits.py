"""Exported models against torch, and against numbers counted by hand."""

import numpy as np
import onnx
import pytest
from exported import digits_test, exported, torch_logits  # noqa: F401

from mmrazor_byot.deploy.onnx_check import ways
from mmrazor_byot.deploy.runtime import DeployedNetwork

#: Convolutions with the bias that batch norm became; 3 -> 8 in the stem.
STEM = 3 * 8 * 9 + 8
BLOCKS = 4 * (8 * 8 * 9 + 8)
HEAD_1 = (8 * 8 + 8) + (8 * 8 * 8 * 8 + 8) + (8 * 64 + 64) + (64 * 10 + 10)
BLOCKS_2 = (8 * 16 * 9 + 16) + 3 * (16 * 16 * 9 + 16) + (8 * 16 + 16)
HEAD_2 = (16 * 16 + 16) + (16 * 16 * 4 * 4 + 16) + (16 * 64 + 64) + 650
NORMALISE = 3 + 3


@pytest.fixture(scope='module')
def network(exported):  # noqa: F811
    return DeployedNetwork(exported, threads=1)


@pytest.mark.parametrize('batch', [1, 5, 37])
def test_every_way_answers_as_torch(network, batch):
    images, expected = digits_test()[0][:batch], torch_logits(37)
    found = list(ways(network, images))
    assert [number for number, _, _ in found] == sorted([1, 2, 3, 4] * 3)
    for number, way, logits in found:
        np.testing.assert_allclose(logits, expected[number - 1, :batch], atol=1e-4, err_msg=way)


def test_exits_answer_differently(network):
    # or a mix-up of exits could not be seen above
    expected = torch_logits(37)
    for i in range(3):
        assert np.abs(expected[i] - expected[i + 1]).max() > 0.1


def numbers(folder, name: str) -> int:
    """How many floats a model carries."""
    graph = onnx.load(folder / name).graph
    return sum(
        int(np.prod(array.dims))
        for array in graph.initializer
        if array.data_type == onnx.TensorProto.FLOAT
    )


@pytest.mark.parametrize(
    'name, expected',
    [
        ('exit_1.onnx', NORMALISE + STEM + BLOCKS + HEAD_1),
        ('stage_1.onnx', NORMALISE + STEM + BLOCKS + HEAD_1),
        ('trunk_1.onnx', NORMALISE + STEM + BLOCKS),
        ('exit_2.onnx', NORMALISE + STEM + BLOCKS + BLOCKS_2 + HEAD_2),
        ('stage_2.onnx', BLOCKS_2 + HEAD_2),
        ('trunk_2.onnx', BLOCKS_2),
    ],
)
def test_a_file_holds_its_own_work_alone(exported, name, expected):  # noqa: F811, E501
    assert numbers(exported, name) == expected


def test_inputs_and_outputs(exported):  # noqa: F811

    def names(name):
        graph = onnx.load(exported / name).graph
        return [x.name for x in graph.input], [x.name for x in graph.output]

    assert names('exit_3.onnx') == (['image'], ['logits_3'])
    assert names('stage_2.onnx') == (['state_1_0'], ['state_2_0', 'logits_2'])
    assert names('trunk_2.onnx') == (['state_1_0'], ['state_2_0'])
    assert names('stage_4.onnx') == (['state_3_0'], ['logits_4'])
    image = onnx.load(exported / 'exit_1.onnx').graph.input[0].type.tensor_type
    assert image.elem_type == onnx.TensorProto.UINT8
    dims = [d.dim_param or d.dim_value for d in image.shape.dim]
    assert dims[1:] == [32, 32, 3] and isinstance(dims[0], str)


def test_global_pooling_is_one_node(exported):  # noqa: F811
    kinds = [n.op_type for n in onnx.load(exported / 'exit_4.onnx').graph.node]
    # stem, 16 in the blocks, 3 on shortcuts; none of a shallow head
    assert kinds.count('Conv') == 1 + 16 + 3
    assert kinds.count('AveragePool') == kinds.count('Gemm') == 1
    assert not {'Shape', 'Range', 'Gather'} & set(kinds)
