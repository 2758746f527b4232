"""What configs say of a data set, whether batches are made of it or not."""

from typing import Any, Dict, Sequence

from mmengine.config import Config, ConfigDict

#: Settings of ImageBatches that are not its data set's.
OWN = ('type', 'dataset', 'device', 'lazy_init', '_scope_')


def gives_batches(dataset: dict) -> bool:
    """Whether a data set's config is one of ``ImageBatches``."""
    return str(dataset.get('type')).split('.')[-1] == 'ImageBatches'


def image_settings(dataset: dict) -> Dict[str, Any]:
    """The config of the data set that has the images: the same, or what ``ImageBatches`` wraps."""
    if not gives_batches(dataset):
        return dataset
    extra = {k: v for k, v in dataset.items() if k not in OWN}
    return ConfigDict({**dataset['dataset'], **extra})


def per_image(loader: dict) -> Dict[str, Any]:
    """A data loader's config, for tools that look at the pipeline or at single images.

    The same; or for one that loads ``ImageBatches``, one that loads the same images one by one.
    """
    if not gives_batches(loader.get('dataset', {})):
        return loader
    pipeline = [dict(type='mmpretrain.PackInputs')]
    dataset = ConfigDict({**image_settings(loader['dataset']), 'pipeline': pipeline})
    rest = {k: v for k, v in loader.items() if k not in ('dataset', 'collate_fn')}
    return ConfigDict({**rest, 'dataset': dataset})


def reads_bgr(pipeline: Sequence[dict]) -> bool:
    """Whether a pipeline yields BGR images, as those that open files do.

    Data sets in memory hand RGB images to their pipelines.
    """
    return any(str(step['type']).endswith('LoadImageFromFile') for step in pipeline)


def network_order(cfg: Config) -> str:
    """What the network of a recipe itself takes: ``'RGB'`` or ``'BGR'``."""
    preprocessor = cfg.model.get('data_preprocessor') or cfg.get('data_preprocessor') or {}
    bgr = reads_bgr(per_image(cfg.test_dataloader).dataset.pipeline)
    turned = bool(preprocessor.get('to_rgb', False))
    return 'BGR' if bgr != turned else 'RGB'
