"""What the data set of a loader must have in common with the network and its training data."""

import warnings
from typing import Any, Optional, Sequence

import torch
from mmpretrain.datasets import BaseDataset, CustomDataset
from torch import Tensor
from torch.utils.data import DataLoader

from mmrazor_byot.errors import ByotWarning, ConfigError, DatasetError

from .image_batches import ImageBatches

#: Labels of larger data sets are checked batch by batch; reading these takes a second.
MAX_READ = 100_000
#: How many names a message shows.
SHOWN = 5


def check_data(
    loader: DataLoader,
    name: str,
    num_classes: Optional[int] = None,
    trained: Optional[Sequence[str]] = None,
    source: str = 'the checkpoint',
) -> bool:
    """Check a data loader before it is used, without reading an image.

    Args:
        loader (DataLoader): The loader.
        name (str): Its key in the config, for messages.
        num_classes (int, optional): Number of classes of the network.
        trained (Sequence[str], optional): Names of the classes that it was trained on.
        source (str): Where these names come from. Defaults to ``'the checkpoint'``.

    Returns:
        bool: Whether all labels were checked; if not, check those of each batch.

    Raises:
        ConfigError: There is no batch, another number of classes, or the images are on a GPU where
            the loader cannot read them.
        DatasetError: The classes have other names, a folder has no images, or a label is not one of
            the classes.
    """
    dataset: Any = loader.dataset
    if hasattr(loader, '__len__') and len(loader) == 0:
        raise ConfigError(
            f'{name} has no batch: its {len(dataset)} images are fewer than batch_size='
            f'{loader.batch_size}, and drop_last leaves incomplete batches out'
        )
    if isinstance(dataset, ImageBatches):
        dataset.check_loader(loader)
    classes = getattr(dataset, 'metainfo', {}).get('classes')
    if classes and trained:
        check_class_names(classes, name, trained, source)
    if classes and num_classes and len(classes) != num_classes:
        raise ConfigError(
            f'the head has {num_classes} classes, but the data of {name} have {len(classes)}: '
            f'{_names(classes)}. Correct the data or, if these are the classes of all data sets, '
            f'set num_classes={len(classes)} of the head (and of data_preprocessor, if it has it)'
        )
    labels = _labels(dataset)
    if labels is None:
        return False
    if num_classes:
        check_range(labels, num_classes, name)
    present = set(labels.tolist())
    empty = [c for i, c in enumerate(classes or ()) if i not in present]
    folders = isinstance(dataset, CustomDataset) and not (dataset.ann_file or dataset._indices)
    if empty and folders and name == 'train_dataloader':
        raise DatasetError(
            f'{name} has no images of {_names(empty)}: the folders in {dataset.img_prefix} have no '
            f'file that ends with {", ".join(sorted(dataset.extensions))}. Fill or delete them'
        )
    if empty and (folders or name == 'train_dataloader'):
        warnings.warn(f'{name} has no images of {_names(empty)}', ByotWarning, stacklevel=2)
    return True


def check_class_names(
    classes: Sequence[str], name: str, trained: Sequence[str], source: str
) -> None:
    """Raise a DatasetError if the data ``name`` have other classes than those of ``source``."""
    if not isinstance(trained, (list, tuple)):  # of a checkpoint, which can hold anything
        return
    found, expected = list(map(str, classes)), list(map(str, trained))
    if found == expected:
        return
    missing = [c for c in expected if c not in found]
    extra = [c for c in found if c not in expected]
    parts = [f'{_names(missing)} missing'] * bool(missing) + [f'{_names(extra)} added'] * bool(
        extra
    )
    if not parts:
        i = next(i for i, c in enumerate(expected) if found[i : i + 1] != [c])
        parts = [f'class {i} is {_names(found[i : i + 1])} instead of {expected[i]!r}']
    raise DatasetError(
        f'the classes of {name} are not those of {source}: {", ".join(parts)}. A label is the '
        'number of a class: give both the same folders (an empty one for a class without images), '
        'or the same metainfo=dict(classes=[...])'
    )


def check_range(labels: Tensor, num_classes: int, name: str) -> None:
    """Raise a DatasetError if one of the labels is not from 0 to ``num_classes - 1``."""
    wrong = labels[(labels < 0) | (labels >= num_classes)]
    if len(wrong):
        raise DatasetError(
            f'{name} has the label {int(wrong[0])}, but the head has {num_classes} classes, 0 to '
            f'{num_classes - 1}: correct the labels, or set num_classes of the head'
        )


def _labels(dataset: Any) -> Optional[Tensor]:
    """All labels (M,) of a data set; None if it has none or they would take long to read."""
    method = getattr(type(dataset), 'get_gt_labels', None)
    if method is None or (method is BaseDataset.get_gt_labels and len(dataset) > MAX_READ):
        return None
    try:
        labels = torch.as_tensor(dataset.get_gt_labels())
    except (KeyError, TypeError, ValueError):  # without labels, or several an image
        return None
    return labels if labels.ndim == 1 else None


def _names(classes: Sequence[str]) -> str:
    more = f' and {len(classes) - SHOWN} more' if len(classes) > SHOWN else ''
    return ', '.join(repr(str(c)) for c in classes[:SHOWN]) + more
