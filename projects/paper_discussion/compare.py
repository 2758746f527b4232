"""Networks side by side: the flags that name them, their weights, and the images."""

import argparse
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Sequence

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmpretrain.registry import DATASETS
from torch.utils.data import DataLoader

from mmrazor_byot.errors import ConfigError
from mmrazor_byot.launch import add_config_options, load_config
from mmrazor_byot.models.loading import build_model, load_weights
from mmrazor_byot.structures import BatchSamples


class Network(NamedTuple):
    """A trained network.

    Attributes:
        name (str): What figures call it.
        cfg (Config): Its recipe.
        checkpoint (str): Where its weights come from.
        model (BaseModel): It itself, on the GPU if there is one.
    """

    name: str
    cfg: Config
    checkpoint: str
    model: BaseModel

    def facts(self) -> Dict[str, str]:
        """Name and origin, for JSON."""
        return dict(
            name=self.name,
            config=Path(self.cfg.filename).name,
            checkpoint=Path(self.checkpoint).name,
        )


def add_network_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that name the networks to compare.

    Args:
        parser: To add them to.
    """
    parser.add_argument(
        '--model',
        nargs='+',
        action='append',
        required=True,
        metavar=('CONFIG', 'CHECKPOINT'),
        help='config and checkpoint of a network; once for each',
    )
    parser.add_argument(
        '--names',
        nargs='+',
        help='what the figures call them, in the same order. Defaults to the names of the configs',
    )
    add_output_arguments(parser)


def add_output_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that every analysis tool has."""
    parser.add_argument('--out', required=True, help='folder for the figures and the numbers')
    parser.add_argument('--seed', type=int, default=0, help='random seed')
    add_config_options(parser)


def load_networks(args: argparse.Namespace) -> List[Network]:
    """Build the networks that the flags name.

    Args:
        args: Of :func:`add_network_arguments`.

    Raises:
        ConfigError: A flag does not fit, or a config is missing.
        CheckpointError: Weights are missing, broken or of another network.
    """
    for pair in args.model:
        if len(pair) != 2:
            raise ConfigError(
                f'--model {" ".join(pair)}: give a config and a checkpoint, and --model again for '
                'the next network'
            )
    names = args.names or default_names(args.model)
    if len(names) != len(args.model):
        raise ConfigError(
            f'--names gives {len(names)} names for {len(args.model)} networks; give one for each'
        )
    if len(set(names)) < len(names):
        raise ConfigError(f'--names {" ".join(names)}: each network needs a name of its own')
    return [
        load_network(config, checkpoint, args, name)
        for name, (config, checkpoint) in zip(names, args.model)
    ]


def default_names(models: Sequence[Sequence[str]]) -> List[str]:
    """Names of the configs; where two share one, with the checkpoint.

    Args:
        models: Pairs of config and checkpoint.
    """
    stems = [Path(config).stem for config, _ in models]
    return [
        stem if stems.count(stem) == 1 else f'{stem} {Path(checkpoint).stem}'
        for stem, (_, checkpoint) in zip(stems, models)
    ]


def load_network(
    config: str, checkpoint: str, args: argparse.Namespace, name: Optional[str] = None
) -> Network:
    """Build a network, with or without exits, and load its weights.

    Args:
        config: Config file.
        checkpoint: File, URL or ``zoo://NAME``.
        args: Of :func:`add_output_arguments`.
        name: What figures call it. Defaults to the config's name.

    Raises:
        ConfigError: The config is missing or has no model, or the seed is out of range.
        CheckpointError: Weights are missing, broken or of another network.
    """
    if not 0 <= args.seed < 2**32:
        raise ConfigError(f'--seed {args.seed}: 0 to {2**32 - 1}')
    cfg = load_config(config, args.cfg_options)
    if cfg.get('model') is None:
        raise ConfigError(f'config "{config}" has no model; give a recipe')
    model = build_model(cfg)
    load_weights(model, cfg, checkpoint)
    model.to('cuda' if torch.cuda.is_available() else 'cpu')
    return Network(name or Path(config).stem, cfg, checkpoint, model)


def image_loader(
    cfg: Config, key: str = 'test_dataloader', limit: Optional[int] = None, seed: int = 0
) -> DataLoader:
    """Build a data loader of a recipe, of all images or fewer.

    Args:
        cfg (Config): The recipe.
        key (str): Which data loader.
        limit (int, optional): Take so many images, spread evenly over the data set, as many are
            sorted by class.
        seed (int): Of its order.

    Raises:
        ConfigError: There is none, or the limit is not positive.
        DatasetError: The data are missing or damaged.
    """
    loader = cfg.get(key)
    if loader is None:
        raise ConfigError(f'config "{cfg.filename}" has no {key}, so there are no images')
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
                f'{first} and {name} are tested on different images ({len(expected)} and '
                f'{len(found)}): give configs with the same test_dataloader'
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
