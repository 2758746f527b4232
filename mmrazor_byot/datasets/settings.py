"""Reads the settings of data sets from configs, with and without ``ImageBatches``."""

from typing import Sequence

from mmengine.config import Config, ConfigDict

#: Arguments of ImageBatches itself; it passes all others to its data set.
IMAGE_BATCHES_ARGUMENTS = ('type', 'dataset', 'device', 'lazy_init', '_scope_')


def gives_batches(dataset: ConfigDict) -> bool:
    """Whether the config of a data set is one of ``ImageBatches``."""
    return str(dataset.get('type')).split('.')[-1] == 'ImageBatches'


def image_settings(dataset: ConfigDict) -> ConfigDict:
    """The config of the data set with the images: ``dataset``, or what ``ImageBatches`` wraps."""
    if not gives_batches(dataset):
        return dataset
    extra = {k: v for k, v in dataset.items() if k not in IMAGE_BATCHES_ARGUMENTS}
    return ConfigDict({**dataset['dataset'], **extra})


def per_image(loader: ConfigDict) -> ConfigDict:
    """The config of a data loader that loads image by image, for tools that need the pipeline.

    A loader of ``ImageBatches`` becomes a loader of the data set it wraps; others stay the same.
    """
    if not gives_batches(loader.get('dataset', {})):
        return loader
    pipeline = [dict(type='mmpretrain.PackInputs')]
    dataset = ConfigDict({**image_settings(loader['dataset']), 'pipeline': pipeline})
    rest = {k: v for k, v in loader.items() if k not in ('dataset', 'collate_fn')}
    return ConfigDict({**rest, 'dataset': dataset})


def reads_bgr(pipeline: Sequence[dict]) -> bool:
    """Whether a pipeline yields BGR images: if it reads files. In-memory data sets yield RGB."""
    return any(str(step['type']).endswith('LoadImageFromFile') for step in pipeline)


def network_order(cfg: Config) -> str:
    """Channel order that the network of a recipe expects: ``'RGB'`` or ``'BGR'``."""
    preprocessor = cfg.model.get('data_preprocessor') or cfg.get('data_preprocessor') or {}
    bgr = reads_bgr(per_image(cfg.test_dataloader).dataset.pipeline)
    swapped = bool(preprocessor.get('to_rgb', False))
    return 'BGR' if bgr != swapped else 'RGB'
