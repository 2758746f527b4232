"""The order of colours in which a network was shown its images."""

from typing import Sequence

from mmengine.config import Config

from mmrazor_byot.datasets import per_image


def reads_bgr(pipeline: Sequence[dict]) -> bool:
    """Whether a pipeline yields BGR images, as those that open files do.

    Data sets in memory hand RGB images to their pipelines.

    Args:
        pipeline (Sequence[dict]): Configs of transforms.
    """
    return any(str(step['type']).endswith('LoadImageFromFile') for step in pipeline)


def network_order(cfg: Config) -> str:
    """What the network itself takes: ``'RGB'`` or ``'BGR'``.

    Args:
        cfg (Config): A recipe with ``test_dataloader``.
    """
    preprocessor = cfg.model.get('data_preprocessor') or cfg.get('data_preprocessor') or {}
    bgr = reads_bgr(per_image(cfg.test_dataloader).dataset.pipeline)
    turned = bool(preprocessor.get('to_rgb', False))
    return 'BGR' if bgr != turned else 'RGB'
