"""A network in 8 bits: static quantization of its stages by ONNX Runtime."""

import logging
import tempfile
from pathlib import Path
from typing import Dict, List, Optional

import numpy as np
import onnx
from onnx import ModelProto
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)

from mmrazor_byot.errors import DeployError

from .stages import ExportedStage, StageSessions

Feed = Dict[str, np.ndarray]
BATCH = 32


class _Feeds(CalibrationDataReader):
    """Hands out what a model is calibrated on."""

    def __init__(self, feeds: List[Feed]) -> None:
        self.feeds = iter(feeds)

    def get_next(self) -> Optional[Feed]:
        return next(self.feeds, None)


def quantize_stages(stages: List[ExportedStage], images: np.ndarray) -> List[ExportedStage]:
    """Quantize every stage, calibrated on what the fp32 stages before it give.

    Args:
        stages (list[ExportedStage]): Of the network, in fp32.
        images (np.ndarray): To calibrate on, (N, H, W, 3) uint8 RGB.

    Returns:
        list[ExportedStage]: The same in 8 bits.

    Raises:
        DeployError: ONNX Runtime cannot quantize one.
    """
    sessions = StageSessions(stages)
    values = [sessions.run(images[i : i + BATCH]) for i in range(0, len(images), BATCH)]
    return [
        stage._replace(
            model=_quantize(stage.model, [{name: v[name] for name in stage.inputs} for v in values])
        )
        for stage in stages
    ]


def _quantize(model: ModelProto, feeds: List[Feed]) -> ModelProto:
    """Quantize a model: weights by channel, activations by their range.

    QuantizeLinear and DequantizeLinear come around what runs in 8 bits; inputs and outputs stay as
    they are.
    """
    logging.disable(logging.WARNING)  # it advises to optimize first, which torch has done
    try:
        with tempfile.TemporaryDirectory() as folder:
            fp32, int8 = Path(folder, 'fp32.onnx'), Path(folder, 'int8.onnx')
            onnx.save(model, fp32)
            quantize_static(
                fp32,
                int8,
                _Feeds(feeds),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                # What onnxruntime can join with a ReLU to one kernel.
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                # Processors without VNNI add two products in 16 bits: weights of 7 bits cannot
                # overflow there, so all answer alike.
                reduce_range=True,
            )
            return onnx.load(int8)
    except Exception as e:  # onnxruntime's errors have no common base
        raise DeployError(
            f'onnxruntime cannot quantize {model.graph.name}: {" ".join(str(e).split())[:200]}'
        ) from e
    finally:
        logging.disable(logging.NOTSET)
