"""Export of the stages of a network to ONNX; a stage leads from one used exit to the next."""

import warnings
from typing import Dict, List, NamedTuple, Sequence, Tuple

import numpy as np
import torch
from onnx import ModelProto
from onnxruntime import InferenceSession  # type: ignore[import-untyped]
from torch import Tensor, nn
from torch.fx import GraphModule

from mmrazor_byot.early_exit import StagedNetwork
from mmrazor_byot.errors import DeployError
from mmrazor_byot.progress import track

OPSET = 18


class ExportedStage(NamedTuple):
    """The part of a network from one used exit to the next, as ONNX.

    Attributes:
        model (ModelProto): The inputs are the tensors of the state, the outputs those of the next
            state that it computes, and ``logits_I`` (N, K).
        inputs (list[str]): Names of the state before the stage.
        outputs (list[str]): Names of the state after it; a tensor passed through keeps its name.
        number (int): The exit, I, 1 to C.
        num_exits, num_classes (int): C and K.
        image_size (tuple[int, int]): Height and width of the images.
    """

    model: ModelProto
    inputs: List[str]
    outputs: List[str]
    number: int
    num_exits: int
    num_classes: int
    image_size: Tuple[int, int]


class _Stage(nn.Module):
    """The part of a network from the used exit ``before`` (0: the images) to exit ``number``."""

    def __init__(
        self, network: StagedNetwork, before: int, number: int, last: bool, preprocessing: nn.Module
    ) -> None:
        super().__init__()
        self.preprocessing = None if before else preprocessing
        self.trunks = network.trunks[before:number]  # the deepest exit has none
        self.head = network.heads[number - 1]
        self.deepest = number == network.num_exits
        self.last = last
        #: Indices of the tensors in the new state that this stage computes.
        self.computed: Sequence[int] = ()

    def parts(self, *state: Tensor) -> Tuple[Tuple[Tensor, ...], Tensor]:
        """The state after the stage, and the logits."""
        if self.preprocessing is not None:
            state = (self.preprocessing(*state),)
        head_inputs: Tuple[Tensor, ...] = ()
        for trunk in self.trunks:
            state, head_inputs = trunk(*state)
        logits = self.head(*(state if self.deepest else head_inputs))
        return () if self.last else state, logits

    def forward(self, *state: Tensor) -> Tuple[Tensor, ...]:
        after, logits = self.parts(*state)
        return (*(after[i] for i in self.computed), logits)


def export_stages(
    network: StagedNetwork, preprocessing: nn.Module, exits: Sequence[int]
) -> List[ExportedStage]:
    """Export the stage of each used exit, with a dynamic batch size.

    Args:
        network (StagedNetwork): The network on the CPU; :func:`use_avg_pool` is applied in place.
        preprocessing (nn.Module): Takes images (N, H, W, 3) uint8.
        exits (Sequence[int]): Numbers of the used exits, from 1; other heads are not exported.

    Returns:
        list[ExportedStage]: One for each of ``exits``.

    Raises:
        DeployError: torch cannot export a stage.
    """
    size = tuple(network.input_size[1:])
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (2, *size, 3), dtype=torch.uint8, generator=generator)
    state: Tuple[Tensor, ...] = (images,)
    names, stages = ['image'], []
    pairs = list(zip([0, *exits], exits))
    for before, number in track(pairs, 'Exporting'):
        stage = _Stage(network, before, number, number == exits[-1], preprocessing)
        for module in (*stage.trunks, stage.head):
            use_avg_pool(module)
        with torch.no_grad():
            after, logits = stage.parts(*state)
        known = {id(x): name for x, name in zip(state, names)}  # passed through
        outputs = [known.get(id(x), f'state_{number}_{i}') for i, x in enumerate(after)]
        stage.computed = [i for i, name in enumerate(outputs) if name not in names]
        computed = [*(outputs[i] for i in stage.computed), f'logits_{number}']
        model = _export(stage, state, names, computed)
        stages.append(
            ExportedStage(model, names, outputs, number, network.num_exits, logits.shape[1], size)
        )
        state, names = after, outputs
    return stages


class StageSessions:
    """Stages in ONNX Runtime, all run on every image."""

    def __init__(self, stages: Sequence[ExportedStage]) -> None:
        self.stages = stages
        self.sessions = [InferenceSession(stage.model.SerializeToString()) for stage in stages]

    def run(self, images: np.ndarray) -> Dict[str, np.ndarray]:
        """Run images (N, H, W, 3); return all inputs and outputs of the stages, (N, ...) each."""
        values = dict(image=images)
        for stage, session in zip(self.stages, self.sessions):
            names = [output.name for output in session.get_outputs()]
            feed = {name: values[name] for name in stage.inputs}
            values.update(zip(names, session.run(names, feed)))
        return values

    def logits(self, images: np.ndarray) -> Tensor:
        """The logits of every exit, (N, C, K); NaN for exits that are not used."""
        values, first = self.run(images), self.stages[0]
        logits = torch.full((len(images), first.num_exits, first.num_classes), torch.nan)
        for stage in self.stages:
            logits[:, stage.number - 1] = torch.from_numpy(values[f'logits_{stage.number}'])
        return logits


def use_avg_pool(module: GraphModule) -> None:
    """Replace global ``adaptive_avg_pool2d`` by ``avg_pool2d``, in place.

    torch decomposes the former into ten ONNX nodes; the latter is one.
    """
    adaptive = torch.ops.aten.adaptive_avg_pool2d.default
    for node in module.graph.nodes:
        if node.target is adaptive and list(node.args[1]) == [1, 1]:
            size = node.args[0].meta['val'].shape[2:]
            if all(isinstance(n, int) for n in size):
                node.target = torch.ops.aten.avg_pool2d.default
                node.args = (node.args[0], list(size))
    module.recompile()


def _export(
    stage: _Stage, state: Tuple[Tensor, ...], names: List[str], outputs: List[str]
) -> ModelProto:
    batch = torch.export.Dim('batch')
    what = f'the stage of {outputs[-1]}'
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter('ignore')
            program = torch.onnx.export(
                stage,
                state,
                dynamo=True,
                dynamic_shapes=(tuple({0: batch} for _ in state),),
                opset_version=OPSET,
                input_names=names,
                output_names=outputs,
                verbose=False,
            )
    except (RuntimeError, TypeError, ValueError) as e:
        reason = str(e).strip().splitlines()[0]
        raise DeployError(
            f'torch {torch.__version__} cannot export {what} to ONNX: {reason}'
        ) from e
    assert program is not None  # with dynamo=True
    opsets = {x.domain: x.version for x in program.model_proto.opset_import}
    if opsets != {'': OPSET}:  # torch keeps its own if it cannot convert
        raise DeployError(
            f'torch {torch.__version__} exports {what} with opsets {opsets}, not opset {OPSET}'
        )
    return program.model_proto
