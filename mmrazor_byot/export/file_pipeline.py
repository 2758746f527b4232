"""The test data of an exported classifier, as mmpretrain's inferencer needs them."""

from typing import Tuple

from mmpretrain.registry import TRANSFORMS

from mmrazor_byot.apis.image_pipeline import gives_other_size
from mmrazor_byot.datasets import per_image, reads_bgr
from mmrazor_byot.runtime.resize import FIT


def file_loader(loader: dict, input_size: Tuple[int, int, int]) -> Tuple[dict, bool]:
    """A test data loader whose pipeline classifies files as our inferencer does.

    mmpretrain's inferencer runs the pipeline, without ``LoadImageFromFile``, on BGR images of any
    size. So one that does not resize gets a ``Resize`` to the input size, (C, H, W), and images in
    memory, which are RGB, are turned to BGR by :class:`BGRImages`.

    Returns:
        tuple: The config of the loader, and whether ``to_rgb`` of the data preprocessor has to be
        the opposite of before.
    """
    loader = {**per_image(loader)}
    dataset = dict(loader['dataset'])
    pipeline = list(dataset.pop('pipeline'))
    loaders = [i for i, step in enumerate(pipeline) if reads_bgr([step])]
    steps = [TRANSFORMS.build(step) for step in pipeline if not reads_bgr([step])]
    if not gives_other_size(steps, input_size):
        fit = dict(type='Resize', scale=(input_size[2], input_size[1]), **FIT)
        pipeline.insert(loaders[0] + 1 if loaders else 0, fit)
    if loaders:
        loader['dataset'] = dict(dataset, pipeline=pipeline)
    else:
        loader['dataset'] = dict(type='mmrazor_byot.BGRImages', dataset=dataset, pipeline=pipeline)
    return loader, not loaders
