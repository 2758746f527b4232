"""Feature maps of a frozen network, computed once and kept: an epoch costs only the exits."""

import os
import shutil
import tempfile
from typing import Any, Callable, List, Optional, Sequence, Tuple, Union

import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, RandomSampler

from mmrazor_byot.errors import ConfigError

from .method import SectionOutput
from .shapes import eval_no_grad

#: Maps of a batch, and its target if there are labels.
Batch = Tuple[SectionOutput, Optional[Tensor]]


class KeptMaps(Dataset):
    """The output of a network's sections for M images, in several views of each.

    :func:`keep_maps` makes it. A batch of N of the images is a :class:`SectionOutput` and its
    target, in a view of each image that is drawn at random.

    Args:
        fields (Sequence[Tensor]): The maps, features and logits, each (views * M, ...).
        target (Tensor, optional): Class indices or probabilities, (views * M, ...).
        views (int): Number of views of each image.
        dtype (torch.dtype): Type of the maps in a batch, the network's.
    """

    def __init__(
        self, fields: Sequence[Tensor], target: Optional[Tensor], views: int, dtype: torch.dtype
    ) -> None:
        self.fields, self.target, self.views, self.dtype = fields, target, views, dtype

    def __len__(self) -> int:
        return len(self.fields[0]) // self.views

    def __getitem__(self, index: int) -> Batch:
        return self.__getitems__([index])

    def __getitems__(self, indices: List[int]) -> Batch:
        """A batch, for torch's DataLoader."""
        view = torch.randint(self.views, (len(indices),))
        rows = view * len(self) + torch.as_tensor(indices)
        *maps, feature, logits = (field[rows].to(self.dtype) for field in self.fields)
        target = None if self.target is None else self.target[rows]
        return SectionOutput(tuple(maps), feature, logits), target

    def loader(self, batch_size: int, collate_fn: Optional[Callable] = None) -> DataLoader:
        """A loader of batches in random order; an epoch has one view of each image.

        Args:
            batch_size (int): N.
            collate_fn (Callable, optional): Applied to each batch.
        """
        return DataLoader(self, batch_size, shuffle=True, collate_fn=collate_fn or _same)


def keep_maps(
    model: Any,
    loader: DataLoader,
    views: int = 1,
    folder: Union[str, os.PathLike, None] = None,
    dtype: Optional[torch.dtype] = None,
    prepare: Optional[Callable[[Any], Tuple[Tensor, Optional[Tensor]]]] = None,
) -> KeptMaps:
    """Compute the feature maps of a frozen network for all images of a loader.

    The space that they need is printed before.

    Args:
        model (ExitNetwork | BYOT): A frozen network, such as ``add_exits(..., freeze=True)``.
        loader (DataLoader): Batches of images (N, C, H, W), or of images and targets; not shuffled
            if there are several views.
        views (int): How often to go through the loader: more than once if it augments images at
            random. Defaults to 1.
        folder (str | Path, optional): Keep the maps in a file in this folder, which is removed when
            the process ends, however it ends. Defaults to the memory.
        dtype (torch.dtype, optional): Type to keep them in: ``torch.float16`` takes half of the
            space. Defaults to the network's.
        prepare (Callable, optional): Turns a batch into images and target.

    Raises:
        ConfigError: The network is not frozen, there are no images, there is no space, or the maps
            do not fit the type.
    """
    if not getattr(model, 'frozen', False):
        raise ConfigError(
            'keep_maps: the network is trained, so its maps change; freeze it: freeze=True of '
            'add_exits, freeze_architecture=True of BYOT'
        )
    if not isinstance(views, int) or views < 1:
        raise ConfigError(f'keep_maps: views={views!r}; an integer, at least 1')
    if dtype is not None and not getattr(dtype, 'is_floating_point', False):
        raise ConfigError(f'keep_maps: dtype={dtype!r}; a floating point type of torch')
    if views > 1 and isinstance(loader.sampler, RandomSampler):
        raise ConfigError(f'keep_maps: {views} views need images in one order: shuffle=False')
    fields: List[Tensor] = []
    targets: List[Tensor] = []
    device, stop = next(model.parameters()).device, 0
    with eval_no_grad(model):
        for batch in (batch for _ in range(views) for batch in loader):
            images, target = (prepare or _images_and_target)(batch)
            maps, *others = model.forward_sections(images.to(device))
            outputs = [*maps, *others]
            if not fields:
                count = min(len(loader) * len(images), len(loader.sampler))  # type: ignore[arg-type]
                fields = _allocate(outputs, count, views, folder, dtype)
            start, stop = stop, stop + len(images)
            if stop > len(fields[0]):
                raise ConfigError(f'keep_maps: the loader goes on after its {count} images')
            for field, output in zip(fields, outputs):
                field[start:stop] = output
                if dtype and not field[start:stop].isfinite().all():
                    raise ConfigError(f'keep_maps: the maps have values that {dtype} cannot hold')
            if target is not None:
                targets.append(target.cpu())
    if not stop:
        raise ConfigError('keep_maps: the loader has no images')
    kept = [field[:stop] for field in fields]
    return KeptMaps(kept, torch.cat(targets) if targets else None, views, outputs[0].dtype)


def _images_and_target(batch: Any) -> Tuple[Tensor, Optional[Tensor]]:
    return (batch, None) if isinstance(batch, Tensor) else tuple(batch)[:2]


def _allocate(
    outputs: Sequence[Tensor],
    count: int,
    views: int,
    folder: Union[str, os.PathLike, None],
    dtype: Optional[torch.dtype],
) -> List[Tensor]:
    """Tensors for the outputs of ``count`` images in all views."""
    shapes = [(views * count, *output.shape[1:]) for output in outputs]
    dtype = dtype or outputs[0].dtype
    sizes = [torch.Size(shape).numel() for shape in shapes]
    needed = sum(sizes) * dtype.itemsize
    where, free = 'memory', os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
    if folder is not None:
        try:
            os.makedirs(folder, exist_ok=True)
            free = shutil.disk_usage(folder).free
        except (OSError, TypeError, ValueError) as e:
            raise ConfigError(f'cannot keep feature maps in folder={folder!r}: {e}') from e
        where = f'"{os.fspath(folder)}"'
    about = f'feature maps of {count:,} images in {views} views: {needed / 1e9:.2f} GB in {where}'
    if needed > free:
        raise ConfigError(
            f'{about}, which has {free / 1e9:.2f} GB: keep fewer views, or half precision '
            '(dtype=float16), or set a folder on a larger disk'
        )
    if not dist.is_initialized() or dist.get_rank() == 0:
        print(about, flush=True)
    if folder is None:
        return [torch.empty(shape, dtype=dtype) for shape in shapes]
    try:
        # Its space is freed when it is not used any more, however the process ends.
        with tempfile.NamedTemporaryFile(dir=os.fspath(folder)) as file:
            if hasattr(os, 'posix_fallocate'):  # or a full disk would kill the process
                os.posix_fallocate(file.fileno(), 0, needed)
            whole = torch.from_file(file.name, shared=True, size=sum(sizes), dtype=dtype)
    except (OSError, RuntimeError) as e:
        raise ConfigError(f'cannot keep the {about}: {e}') from e
    return [part.view(shape) for part, shape in zip(whole.split(sizes), shapes)]


def _same(batch: Any) -> Any:
    return batch
