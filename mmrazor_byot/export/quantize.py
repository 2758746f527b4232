"""Static 8-bit quantization of the stages by ONNX Runtime."""

import logging
import tempfile
from pathlib import Path
from typing import Dict, List, Optional

import numpy as np
import onnx
from onnx import ModelProto
from onnxruntime.quantization import (  # type: ignore[import-untyped]
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)

from mmrazor_byot.errors import DeployError
from mmrazor_byot.progress import track

from .stages import ExportedStage, StageSessions

Feed = Dict[str, np.ndarray]
BATCH = 32


class _Feeds(CalibrationDataReader):
    """Inputs that a model is calibrated on, one batch after another."""

    def __init__(self, feeds: List[Feed]) -> None:
        self.feeds = iter(feeds)

    def get_next(self) -> Optional[Feed]:
        return next(self.feeds, None)


def quantize_stages(stages: List[ExportedStage], images: np.ndarray) -> List[ExportedStage]:
    """Quantize every stage, calibrated on the outputs of the fp32 stages before it.

    Args:
        stages (list[ExportedStage]): Stages in fp32.
        images (np.ndarray): Calibration images, (N, H, W, 3) uint8 RGB.

    Raises:
        DeployError: ONNX Runtime cannot quantize a stage.
    """
    sessions = StageSessions(stages)
    values = [sessions.run(images[i : i + BATCH]) for i in range(0, len(images), BATCH)]
    return [
        stage._replace(
            model=_quantize(stage.model, [{name: v[name] for name in stage.inputs} for v in values])
        )
        for stage in track(stages, 'Quantizing')
    ]


def _quantize(model: ModelProto, feeds: List[Feed]) -> ModelProto:
    """Quantize a model (QDQ): weights per channel, activations by range, inputs and outputs not."""
    logging.disable(logging.WARNING)  # its advice to optimize first: torch has done it
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
                # onnxruntime fuses this type with a ReLU.
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                # Without VNNI, CPUs add two products in 16 bits. Weights of 7 bits cannot overflow,
                # so all CPUs give the same scores.
                reduce_range=True,
            )
            return onnx.load(int8)
    except OSError:
        raise  # a full disk
    except Exception as e:  # onnxruntime's errors have no common base
        raise DeployError(
            f'onnxruntime cannot quantize {model.graph.name}: {" ".join(str(e).split())[:200]}'
        ) from e
    finally:
        logging.disable(logging.NOTSET)
