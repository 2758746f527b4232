"""ResNeXt for CIFAR (arXiv 1611.05431, Sec. 5.3), built from mmpretrain's parts."""

from collections.abc import Sequence
from typing import Any

from mmpretrain.models.backbones import ResNet_CIFAR, ResNeXt
from mmpretrain.models.backbones.resnext import Bottleneck

from mmrazor_byot.registry import MODELS

from .preact_backbone import NUM_STAGES, blocks_per_stage, check_stages


@MODELS.register_module()
class ResNeXt_CIFAR(ResNeXt, ResNet_CIFAR):
    """ResNeXt-depth for 32 x 32 images: three stages of n bottlenecks.

    The blocks are those of mmpretrain's ``ResNeXt``; the stem (one 3x3 conv, no pooling) and
    ``forward`` are those of its ``ResNet_CIFAR``. The stages have 256, 512 and 1024 channels. ReLU
    follows the sum, as in the authors' code; the paper's experiments used pre-activation.

    **ResNeXt29-2 of BYOT's tables** is taken to be ResNeXt-29 2x64d, ``groups=2``: a group stays 64
    wide when the paper varies the cardinality on CIFAR (Sec. 5.3, Fig. 7).

    **Parameters.** The whole classifier for 10 classes has 34,426,698 (8x64d) and 68,155,210
    (16x64d). The paper prints 34.4 M and 68.1 M, which agrees without the 0.1 M of the BN layers.

    Args:
        depth (int): 9n + 2; the paper's is 29.
        groups (int): Cardinality C. Default: 8.
        width_per_group (int): Width d of a group in the first stage; it doubles at each further
            stage. Default: 64.
        out_indices (Sequence[int]): Stages whose maps are returned, from 0. Default: ``(2, )``.
        frozen_stages (int): -1 freezes nothing, 0 the stem, i > 0 the stem and the first i stages.
            Default: -1.
        zero_init_residual (bool): Start each block as the identity. The paper does not. Default:
            False.
        **kwargs: ``in_channels``, ``conv_cfg``, ``norm_cfg``, ``norm_eval``, ``with_cp``,
            ``drop_path_rate``, ``init_cfg`` and so on, as in mmpretrain's ``ResNeXt``.

    Raises:
        ValueError: ``depth`` is not 9n + 2, a stage number is out of range, or ``groups=1`` is
            given with a width that mmpretrain's block would ignore.

    Example:
        >>> net = ResNeXt_CIFAR(29, groups=2, out_indices=(0, 1, 2))
        >>> [tuple(f.shape) for f in net(torch.rand(1, 3, 32, 32))]
        [(1, 256, 32, 32), (1, 512, 16, 16), (1, 1024, 8, 8)]
    """

    def __init__(
        self,
        depth: int,
        groups: int = 8,
        width_per_group: int = 64,
        out_indices: Sequence[int] = (NUM_STAGES - 1,),
        frozen_stages: int = -1,
        zero_init_residual: bool = False,
        **kwargs: Any,
    ) -> None:
        num_blocks = blocks_per_stage('ResNeXt_CIFAR', depth, 3, (2,))
        check_stages(out_indices, frozen_stages)
        base_channels = kwargs.get('base_channels', 64)
        if groups == 1 and width_per_group != base_channels:
            raise ValueError(
                f'groups=1 is a plain bottleneck, whose width_per_group must be {base_channels}, '
                f'got {width_per_group}'
            )
        # ResNet gets its blocks from this table.
        self.arch_settings = {depth: (Bottleneck, (num_blocks,) * NUM_STAGES)}
        super().__init__(
            depth,
            groups=groups,
            width_per_group=width_per_group,
            num_stages=NUM_STAGES,
            strides=(1, 2, 2),
            dilations=(1,) * NUM_STAGES,
            out_indices=tuple(out_indices),
            frozen_stages=frozen_stages,
            zero_init_residual=zero_init_residual,
            **kwargs,
        )
