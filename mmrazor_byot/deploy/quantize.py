"""The models in 8 bits: static quantization by ONNX Runtime."""

import logging
from pathlib import Path
from typing import Dict, Iterator, List, Optional

import numpy as np
import onnx
from onnx import ModelProto
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quant_pre_process,
    quantize_static,
)

from mmrazor_byot.errors import DeployError

from .deployed_network import DeployedNetwork
from .onnx_export import ExportedStage, cut_trunk

Feed = Dict[str, np.ndarray]
BATCH = 32


class _Feeds(CalibrationDataReader):
    """Hands out what a model is calibrated on."""

    def __init__(self, feeds: List[Feed]) -> None:
        self.feeds = iter(feeds)

    def get_next(self) -> Optional[Feed]:
        return next(self.feeds, None)


def quantize(model: ModelProto, feeds: List[Feed], work: Path) -> ModelProto:
    """Quantize a model: weights by channel, activations by their range.

    Args:
        model (ModelProto): In fp32.
        feeds (list[dict]): Name of each input to arrays (N, ...).
        work (Path): A folder for files in between.

    Returns:
        ModelProto: With QuantizeLinear and DequantizeLinear around what runs
        in 8 bits; inputs and outputs stay as they are.

    Raises:
        DeployError: ONNX Runtime cannot quantize it.
    """
    fp32, prepared, int8 = (work / name for name in ('fp32.onnx', 'prepared.onnx', 'int8.onnx'))
    onnx.save(model, fp32)
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # it advises to do what has been done
    try:
        # Shapes but for the batch are fixed, so none are symbols; and torch
        # has put batch norms into the convolutions, so nothing is left to
        # optimize.
        quant_pre_process(fp32, prepared, skip_symbolic_shape=True, skip_optimization=True)
        quantize_static(
            prepared,
            int8,
            _Feeds(feeds),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            # What onnxruntime can join with a ReLU to one kernel.
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            # Processors without VNNI add two products in 16 bits: weights of
            # 7 bits cannot overflow there, so all answer alike.
            reduce_range=True,
        )
        return onnx.load(int8)
    except Exception as e:  # onnxruntime's errors have no common base
        raise DeployError(
            f'onnxruntime cannot quantize {model.graph.name}: {" ".join(str(e).split())[:200]}'
        ) from e
    finally:
        root.setLevel(level)
        for path in (fp32, prepared, int8):
            path.unlink(missing_ok=True)


def quantized_parts(
    network: DeployedNetwork,
    stages: List[ExportedStage],
    exits: List[ModelProto],
    images: np.ndarray,
    work: Path,
) -> Iterator[tuple]:
    """Quantize all models of a network.

    Args:
        network (DeployedNetwork): In fp32; it computes the states that the
            stages are calibrated on.
        stages (list[ExportedStage]): Its stages.
        exits (list[ModelProto]): Its models cut at the exits.
        images (np.ndarray): To calibrate on, (N, H, W, 3) uint8 RGB.
        work (Path): A folder for files in between.

    Yields:
        tuple: ``'exit'``, ``'stage'`` or ``'trunk'``; exit 1 to C; the model.

    Raises:
        DeployError: ONNX Runtime cannot quantize one.
    """
    batches = [images[i : i + BATCH] for i in range(0, len(images), BATCH)]
    states = [(batch,) for batch in batches]
    image_feeds = [dict(image=batch) for batch in batches]
    for number, (stage, cut) in enumerate(zip(stages, exits), start=1):
        yield 'exit', number, quantize(cut, image_feeds, work)
        feeds = [dict(zip(stage.inputs, state)) for state in states]
        model = quantize(stage.model, feeds, work)
        yield 'stage', number, model
        trunk = cut_trunk(stage._replace(model=model))
        if trunk is not None:
            yield 'trunk', number, trunk
        states = [network.stage(number, state, read=False)[0] for state in states]
