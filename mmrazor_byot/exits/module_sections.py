"""The sections of any ``nn.Module``, which end after modules that are named."""

from difflib import get_close_matches
from functools import partial
from typing import Any, Dict, Iterable, List, Optional, Sequence, Tuple

import torch
from torch import Tensor, nn

from mmrazor_byot.errors import ConfigError

from .method import SectionOutput
from .shapes import InputSize, ShapeProbe, eval_no_grad, image_size


class ModuleSections:
    """Collects the feature maps of a classifier after some of its modules, by forward hooks.

    Copies of a module that owns both, the classifier and this object, collect their own.

    Args:
        net (nn.Module): Images (N, C, H, W) to logits (N, K). Its last ``nn.Linear`` returns the
            logits; the input of that layer is the feature of the deepest exit.
        after (Sequence[str]): Names, as in ``net.named_modules()``, of the modules after which
            section 1 to C - 1 end. Each returns a feature map (N, C_i, H_i, W_i).

    Raises:
        ConfigError: A module does not exist.
    """

    def __init__(self, net: nn.Module, after: Sequence[str]) -> None:
        modules = dict(net.named_modules())
        if isinstance(after, str) or not after or len(set(after)) < len(after):
            raise ConfigError(f'after={after!r}: give a list of names of modules, each once')
        for name in after:
            if name not in modules or not name:
                raise ConfigError(
                    f'after: {type(net).__name__} has no module {name!r}; {_similar(name, modules)}'
                )
        linear = [module for module in modules.values() if isinstance(module, nn.Linear)]
        if not linear:
            raise ConfigError(
                f'{type(net).__name__} has no nn.Linear; its last one should return the logits'
            )
        self.after = list(after)
        self._collected: Optional[Dict[str, Tensor]] = None  # None unless run() is at work
        for name in after:
            modules[name].register_forward_hook(partial(self._collect_map, name))
        linear[-1].register_forward_hook(self._collect_feature)

    def _collect_map(self, name: str, module: nn.Module, inputs: Any, output: Tensor) -> None:
        if self._collected is not None:
            self._collected[name] = output

    def _collect_feature(self, module: nn.Module, inputs: Tuple[Tensor], output: Tensor) -> None:
        if self._collected is not None:
            self._collected['feature'] = inputs[0]

    def run(self, net: nn.Module, images: Tensor) -> SectionOutput:
        """Run the classifier once on images (N, C, H, W)."""
        self._collected = {}
        logits = net(images)
        collected, self._collected = self._collected, None
        maps = tuple(collected[name] for name in self.after)
        return SectionOutput(maps, collected['feature'], logits)

    def probe(self, net: nn.Module, input_size: InputSize) -> ShapeProbe:
        """Run the classifier on an image of zeros.

        Raises:
            ConfigError: It cannot run, the modules run in another order, or do not return feature
                maps.
        """
        name, size = type(net).__name__, image_size(input_size)
        device = next(net.parameters()).device
        sizes: List[int] = []

        def measure(module: nn.Module, inputs: Any, output: Any) -> None:
            is_map = isinstance(output, Tensor) and output.ndim == 4
            if is_map and 'Pool' not in type(module).__name__:
                sizes.append(max(output.shape[2:]))

        handles = [module.register_forward_hook(measure) for module in net.modules()]
        self._collected = {}
        try:
            with eval_no_grad(net):
                logits = net(torch.zeros(1, *size, device=device))
            collected = self._collected
        except Exception as e:  # any module can raise anything
            reason = (str(e).strip() or type(e).__name__).splitlines()[0]
            raise ConfigError(
                f'{name} cannot run on an image of input_size={size} (channels, height, width): '
                f'{reason}'
            ) from e
        finally:
            self._collected = None
            for handle in handles:
                handle.remove()
        self._check(name, collected, logits)
        maps = tuple(collected[name] for name in self.after)
        sections = SectionOutput(maps, collected['feature'], logits)
        return ShapeProbe(size, sections, sizes[-1])

    def _check(self, name: str, collected: Dict[str, Tensor], logits: Any) -> None:
        order = [module for module in collected if module != 'feature']
        if missing := set(self.after) - set(order):
            raise ConfigError(f'after: {name} does not run the module {sorted(missing)[0]!r}')
        if order != self.after:
            raise ConfigError(f'after: {name} runs these modules in the order {order}')
        for module in self.after:
            x = collected[module]
            if not isinstance(x, Tensor) or x.ndim != 4:
                raise ConfigError(
                    f'after: {module!r} of {name} returns {_shape(x)}; sections end with a feature '
                    'map (N, C, H, W)'
                )
        if not isinstance(logits, Tensor) or logits.ndim != 2:
            raise ConfigError(
                f'{name} returns {_shape(logits)}; a classifier returns logits (N, K)'
            )
        feature = collected.get('feature')
        if feature is None or feature.ndim != 2:
            raise ConfigError(
                f'the last nn.Linear of {name} takes {_shape(feature)}; it should take the feature '
                '(N, D) of the deepest exit and return the logits'
            )


def _shape(value: Any) -> str:
    return str(tuple(value.shape)) if isinstance(value, Tensor) else f'a {type(value).__name__}'


def _similar(name: str, modules: Iterable[str]) -> str:
    similar = get_close_matches(name, modules, n=3, cutoff=0.5)
    return f'similar are {similar}' if similar else 'see net.named_modules()'
