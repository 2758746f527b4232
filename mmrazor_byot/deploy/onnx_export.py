"""Turn a staged network into ONNX models: by stage, and cut at each exit."""

import warnings
from typing import List, NamedTuple, Optional, Sequence, Tuple

import onnx
import torch
from onnx import ModelProto
from onnx.compose import add_prefix
from onnx.helper import make_graph, make_model
from onnx.utils import Extractor
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.torch_version import TorchVersion

from mmrazor_byot.errors import ConfigError, DeployError
from mmrazor_byot.inference import StagedNetwork

from .manifest import computed

OPSET = 18
#: The oldest torch whose exporter goes by way of torch.export.
OLDEST_TORCH = '2.6'
ADAPTIVE = torch.ops.aten.adaptive_avg_pool2d.default


class ExportedStage(NamedTuple):
    """A stage as ONNX.

    Attributes:
        model (ModelProto): Takes the state by its names; gives what it
            computes of the next state, and ``logits_I`` (N, K).
        inputs (list[str]): Names of the state it takes.
        outputs (list[str]): Names of the state it leaves; what it only
            passes on keeps its name.
    """

    model: ModelProto
    inputs: List[str]
    outputs: List[str]


class _Stage(nn.Module):
    """A stage as torch.onnx wants it.

    Args:
        network (StagedNetwork): Whose stage it is.
        number (int): Which, 1 to C.
        prepare (nn.Module, optional): What is done to the images first.
    """

    def __init__(self, network: StagedNetwork, number: int, prepare: Optional[nn.Module]) -> None:
        super().__init__()
        self.prepare = prepare
        deepest = number == network.num_exits
        self.trunk = None if deepest else network.trunks[number - 1]
        self.head = network.heads[number - 1]
        #: Numbers of the new state that are computed here; by default all.
        self.kept: Optional[Sequence[int]] = None

    def parts(self, *state: Tensor) -> Tuple[Tuple[Tensor, ...], Tensor]:
        """The state behind the stage, and the logits."""
        if self.prepare is not None:
            state = (self.prepare(*state),)
        if self.trunk is None:
            return (), self.head(*state)
        state, head_inputs = self.trunk(*state)
        return state, self.head(*head_inputs)

    def forward(self, *state: Tensor) -> Tuple[Tensor, ...]:
        left, logits = self.parts(*state)
        return (*(left[i] for i in self.kept), logits)


def export_stages(
    network: StagedNetwork, prepare: nn.Module, opset: int = OPSET
) -> List[ExportedStage]:
    """Export every stage, with a free batch size.

    Args:
        network (StagedNetwork): On the CPU; its poolings are rewritten, see
            :func:`pool_plainly`.
        prepare (nn.Module): Images (N, H, W, 3) uint8 to what the network
            takes.
        opset (int): Version of the ONNX operators. Defaults to 18.

    Returns:
        list[ExportedStage]: One for each exit.

    Raises:
        DeployError: torch cannot export it.
    """
    if TorchVersion(torch.__version__) < OLDEST_TORCH:
        raise DeployError(
            f'exporting needs torch {OLDEST_TORCH} or newer; this is {torch.__version__}'
        )
    height, width = network.input_size[1:]
    generator = torch.Generator().manual_seed(0)
    state = (torch.randint(256, (2, height, width, 3), dtype=torch.uint8, generator=generator),)
    names, stages = ['image'], []
    for number in range(1, network.num_exits + 1):
        stage = _Stage(network, number, prepare if number == 1 else None)
        for module in (stage.trunk, stage.head):
            if module is not None:
                pool_plainly(module)
        with torch.no_grad():
            left, _ = stage.parts(*state)
        outputs = _names(left, number, state, names)
        stage.kept = [i for i, n in enumerate(outputs) if n not in names]
        model = _export(stage, state, number, names, outputs, opset)
        stages.append(ExportedStage(model, names, outputs))
        state, names = left, outputs
    return stages


def check_opset(opset: int) -> None:
    """See whether torch and the installed onnx know an opset.

    Raises:
        ConfigError: They do not.
    """
    newest = onnx.defs.onnx_opset_version()
    if not OPSET <= opset <= newest:
        raise ConfigError(
            f'--opset {opset}: torch exports {OPSET} and newer, '
            f'the installed onnx knows up to {newest}'
        )


def cut_exit(stages: Sequence[ExportedStage], number: int) -> ModelProto:
    """Image to the logits of one exit, with nothing of other heads.

    Args:
        stages (Sequence[ExportedStage]): Of the network.
        number (int): The exit, 1 to C.
    """
    graphs = [stage.model.graph for stage in stages[:number]]
    chain = make_graph(
        [node for graph in graphs for node in graph.node],
        f'exit_{number}',
        list(graphs[0].input),
        list(graphs[-1].output),
        [array for graph in graphs for array in graph.initializer],
        value_info=[info for graph in graphs for info in (*graph.value_info, *graph.output)],
    )
    first = stages[0].model
    model = make_model(
        chain,
        opset_imports=first.opset_import,
        ir_version=first.ir_version,
        producer_name=first.producer_name,
        producer_version=first.producer_version,
    )
    return _part(model, ['image'], [f'logits_{number}'])


def cut_trunk(stage: ExportedStage) -> Optional[ModelProto]:
    """A stage without its head; None where that computes nothing."""
    kept = computed(stage._asdict())
    return _part(stage.model, stage.inputs, kept) if kept else None


def pool_plainly(module: GraphModule) -> None:
    """Say of each global pooling how large its window is.

    torch takes ``adaptive_avg_pool2d`` apart before it exports it, and what
    it leaves becomes ten ONNX nodes; this becomes one.

    Args:
        module (GraphModule): Changed in place.
    """
    for node in module.graph.nodes:
        if node.target is ADAPTIVE and list(node.args[1]) == [1, 1]:
            size = node.args[0].meta['val'].shape[2:]
            if all(isinstance(n, int) for n in size):
                node.target = torch.ops.aten.avg_pool2d.default
                node.args = (node.args[0], list(size))
    module.recompile()


def _names(
    left: Sequence[Tensor], number: int, state: Sequence[Tensor], names: Sequence[str]
) -> List[str]:
    """Names of the state behind a stage; what passes through keeps its."""
    known = {id(x): name for x, name in zip(state, names)}
    return [known.get(id(x), f'state_{number}_{i}') for i, x in enumerate(left)]


def _export(
    stage: _Stage,
    state: Tuple[Tensor, ...],
    number: int,
    names: List[str],
    outputs: List[str],
    opset: int,
) -> ModelProto:
    batch = torch.export.Dim('batch')
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter('ignore')
            program = torch.onnx.export(
                stage,
                state,
                dynamo=True,
                dynamic_shapes=(tuple({0: batch} for _ in state),),
                opset_version=opset,
                input_names=names,
                output_names=[*(outputs[i] for i in stage.kept), f'logits_{number}'],
                verbose=False,
            )
    except (RuntimeError, TypeError, ValueError) as e:
        reason = str(e).strip().splitlines()[0]
        raise DeployError(
            f'torch {torch.__version__} cannot export stage {number} to ONNX: {reason}'
        ) from e
    model = program.model_proto
    found = {x.domain: x.version for x in model.opset_import}
    if found != {'': opset}:  # torch keeps its own where it cannot convert
        raise DeployError(
            f'torch {torch.__version__} gives stage {number} '
            f'the operators {found}, not opset {opset}; try '
            f'--opset {OPSET}'
        )
    # Names of the state are shared by all stages, all others are not.
    return add_prefix(model, f'stage_{number}/', rename_inputs=False, rename_outputs=False)


def _part(model: ModelProto, inputs: Sequence[str], outputs: Sequence[str]) -> ModelProto:
    """What lies between some values of a model."""
    part = Extractor(model).extract_model(list(inputs), list(outputs))
    onnx.checker.check_model(part)
    return part
