"""Several batch transforms with one copy of all their draws."""

from typing import List, Sequence, Union

from mmrazor_byot.registry import TRANSFORMS

from .base import BatchTransform, Shape, Step


@TRANSFORMS.register_module()
class BatchCompose(BatchTransform):
    """Batch transforms, one after the other.

    It draws for all of them first, so that on a GPU all drawn numbers move
    in one copy.

    Args:
        transforms (Sequence[BatchTransform | dict]): Them, or their configs.
    """

    def __init__(self, transforms: Sequence[Union[BatchTransform, dict]]):
        self.transforms = [TRANSFORMS.build(t) if isinstance(t, dict) else t for t in transforms]

    def draw(self, shape: Shape) -> List[Step]:
        steps = []
        for transform in self.transforms:
            steps += transform.draw(shape)
            shape = transform.out_shape(shape)
        return steps

    def out_shape(self, shape: Shape) -> Shape:
        for transform in self.transforms:
            shape = transform.out_shape(shape)
        return shape
