"""The images that networks are compared on."""

from typing import Dict, List, Optional, Sequence

import numpy as np
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.runner import Runner
from mmpretrain.registry import DATASETS
from torch.utils.data import DataLoader

from mmrazor_byot.errors import ConfigError
from mmrazor_byot.structures import BatchSamples


def image_loader(
    cfg: Config, key: str = 'test_dataloader', limit: Optional[int] = None, seed: int = 0
) -> DataLoader:
    """Build a data loader of a recipe, of all images or fewer.

    Args:
        cfg (Config): The recipe.
        key (str): Which data loader.
        limit (int, optional): Take so many images, spread evenly over the
            data set, as many are sorted by class.
        seed (int): Of its order.

    Raises:
        ConfigError: There is none, or the limit is not positive.
        DatasetError: The data are missing or damaged.
    """
    loader = cfg.get(key)
    if loader is None:
        raise ConfigError(
            f'config "{cfg.filename}" has no {key}, so there are no images to look at'
        )
    if limit is not None:
        if limit < 1:
            raise ConfigError(f'--limit-images {limit}: at least 1')
        dataset = DATASETS.build(loader['dataset'])
        dataset.full_init()
        if limit < len(dataset):
            dataset = _spread_out(dataset, limit)
        loader = {**loader, 'dataset': dataset}
    return Runner.build_dataloader(loader, seed=seed)


def _spread_out(dataset: BaseDataset, count: int) -> BaseDataset:
    numbers = np.linspace(0, len(dataset) - 1, count).round().astype(int)
    try:
        return dataset.get_subset(numbers.tolist())
    except NotImplementedError as e:
        raise ConfigError(
            f'a {type(dataset).__name__} cannot be cut down: leave --limit-images out'
        ) from e


def check_same_images(batches: Dict[str, Sequence[dict]]) -> int:
    """Refuse to compare networks on different images.

    Args:
        batches: By name of the network, its batches.

    Returns:
        int: How many images they are.

    Raises:
        ConfigError: Their labels differ.
    """
    labels = {
        name: np.concatenate(
            [BatchSamples.of(batch['data_samples']).gt_label.cpu().numpy() for batch in of_network]
        )
        for name, of_network in batches.items()
    }
    (first, expected), *others = labels.items()
    for name, found in others:
        if not np.array_equal(found, expected):
            raise ConfigError(
                f'{first} and {name} are tested on different images '
                f'({len(expected)} and {len(found)}): give configs with the '
                'same test_dataloader'
            )
    return len(expected)


def class_names(dataset: BaseDataset, labels: Sequence[int]) -> List[str]:
    """Names of classes, or their numbers where the data set has none.

    Args:
        dataset (BaseDataset): The data set.
        labels (Sequence[int]): The classes.
    """
    names = dataset.metainfo.get('classes')
    return [str(names[label]) if names else str(label) for label in labels]
