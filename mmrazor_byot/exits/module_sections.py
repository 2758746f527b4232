"""The sections of any ``nn.Module``, which end after modules that are named."""

import threading
from difflib import get_close_matches
from functools import partial
from typing import Any, Dict, Iterable, Optional, Sequence, Set, Tuple

import torch
from torch import Tensor, nn

from mmrazor_byot.errors import ConfigError

from .method import SectionOutput
from .shapes import (
    DeepestSize,
    InputSize,
    ShapeProbe,
    eval_no_grad,
    image_size,
    is_channels_last,
)

#: Names, which no module has, of the input and output of the last linear layer.
FEATURE, LOGITS = '', '.'
#: Its ``run`` is the sections that a thread runs and what they collect.
_THREAD = threading.local()


class ModuleSections:
    """Collects the feature maps of a classifier after some of its modules, by forward hooks.

    Copies of a module that owns both, the classifier and this object, collect their own.

    Args:
        net (nn.Module): Images (N, C, H, W) to logits (N, K). The ``nn.Linear`` that runs last
            returns the logits; its input is the feature of the deepest exit.
        after (Sequence[str]): Names, as in ``net.named_modules()``, of the modules after which
            section 1 to C - 1 end. Each returns a feature map (N, C_i, H_i, W_i), or
            (N, H_i, W_i, C_i), as those of Swin.

    Raises:
        ConfigError: A module does not exist.
    """

    def __init__(self, net: nn.Module, after: Sequence[str]) -> None:
        if not isinstance(net, nn.Module):
            raise ConfigError(f'net is a {type(net).__name__}; give the classifier, an nn.Module')
        modules = dict(net.named_modules())
        names = list(after) if isinstance(after, (list, tuple)) else []
        if not names or any(names.count(name) > 1 for name in names):
            raise ConfigError(f'after={after!r}: give a list of names of modules, each once')
        for name in names:
            if not isinstance(name, str) or not name or name not in modules:
                raise ConfigError(
                    f'after: {type(net).__name__} has no module {name!r}; '
                    f'{_similar(str(name), modules)}'
                )
        linear = [module for module in modules.values() if isinstance(module, nn.Linear)]
        if not linear:
            raise ConfigError(
                f'{type(net).__name__} has no nn.Linear; its last one should return the logits'
            )
        self.after = names
        self.channels_last: Set[str] = set()  # modules that return (N, H, W, C)
        for name in names:
            modules[name].register_forward_hook(partial(self._collect_map, name))
        for module in linear:  # which one runs last need not be the order of their names
            module.register_forward_hook(self._collect_feature)

    def _collect_map(self, name: str, module: nn.Module, inputs: Any, output: Tensor) -> None:
        if (collected := _collected_by(self)) is not None:
            collected.pop(name, None)  # the last run counts, if there are several
            collected[name] = output

    def _collect_feature(self, module: nn.Module, inputs: Tuple[Tensor], output: Tensor) -> None:
        if (collected := _collected_by(self)) is not None:
            collected[FEATURE], collected[LOGITS] = inputs[0], output

    def _collect(self, net: nn.Module, images: Tensor) -> Tuple[Dict[str, Tensor], Tensor]:
        """Run the classifier: what the hooks collect, and its logits."""
        collected: Dict[str, Tensor] = {}
        before = getattr(_THREAD, 'run', None)  # one network can run within another
        _THREAD.run = self, collected
        try:
            logits = net(images)
        finally:
            _THREAD.run = before
        if not isinstance(logits, Tensor) or logits.ndim != 2:
            raise ConfigError(
                f'{type(net).__name__} returns {_shape(logits)}; a classifier returns logits (N, K)'
            )
        return collected, logits

    def _output(self, collected: Dict[str, Tensor], logits: Tensor) -> SectionOutput:
        missing = [name for name in self.after if name not in collected]
        if LOGITS not in collected or collected[LOGITS].shape[1:] != logits.shape[1:]:
            missing.append('the last nn.Linear')
        if missing:
            raise ConfigError(
                f'{missing[0]} of the network did not run: was it replaced after exits were added?'
            )
        maps = [collected[name] for name in self.after]
        for i, name in enumerate(self.after):
            if name in self.channels_last:
                maps[i] = maps[i].permute(0, 3, 1, 2)
        return SectionOutput(tuple(maps), collected[FEATURE], logits)

    def run(self, net: nn.Module, images: Tensor) -> SectionOutput:
        """Run the classifier once on images (N, C, H, W)."""
        return self._output(*self._collect(net, images))

    def probe(self, net: nn.Module, input_size: InputSize) -> ShapeProbe:
        """Run the classifier on an image of zeros.

        Raises:
            ConfigError: It cannot run, the modules run in another order, or do not return feature
                maps.
        """
        name, size = type(net).__name__, image_size(input_size)
        deepest_size = DeepestSize(size)
        handles = [module.register_forward_hook(deepest_size) for module in net.modules()]
        try:
            with eval_no_grad(net):
                collected, logits = self._collect(
                    net, torch.zeros(1, *size).to(next(net.parameters()))
                )
        except ConfigError:
            raise
        except Exception as e:  # any module can raise anything
            reason = (str(e).strip() or type(e).__name__).splitlines()[0]
            raise ConfigError(
                f'{name} cannot run on an image of input_size={size} (channels, height, width): '
                f'{reason}'
            ) from e
        finally:
            for handle in handles:
                handle.remove()
        self._check(name, collected, logits)
        self.channels_last = {n for n in self.after if is_channels_last(collected[n], size)}
        return ShapeProbe(size, self._output(collected, logits), deepest_size.value)

    def _check(self, name: str, collected: Dict[str, Tensor], logits: Tensor) -> None:
        order = [module for module in collected if module in self.after]
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
        feature = collected.get(FEATURE)
        if feature is None or feature.ndim != 2 or collected[LOGITS].shape != logits.shape:
            raise ConfigError(
                f'the last nn.Linear of {name} takes {_shape(feature)}; it should take the feature '
                '(N, D) of the deepest exit and return the logits'
            )


def _collected_by(sections: ModuleSections) -> Optional[Dict[str, Tensor]]:
    """Where hooks put their outputs, None unless these sections run in this thread."""
    run = getattr(_THREAD, 'run', None)
    return run[1] if run is not None and run[0] is sections else None


def _shape(value: Any) -> str:
    return str(tuple(value.shape)) if isinstance(value, Tensor) else f'a {type(value).__name__}'


def _similar(name: str, modules: Iterable[str]) -> str:
    similar = get_close_matches(name, modules, n=3, cutoff=0.5)
    return f'similar are {similar}' if similar else 'see net.named_modules()'
