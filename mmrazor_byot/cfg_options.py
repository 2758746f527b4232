"""``--cfg-options KEY=VALUE``, which changes settings of a config."""

import argparse
import ast
import contextlib
from typing import Any, List

from mmengine.config import DictAction

from .errors import ConfigError


class OptionsAction(argparse.Action):
    """MMEngine's ``DictAction``, which loses white space in values and recurses without end."""

    def __call__(
        self, parser: argparse.ArgumentParser, args: Any, words: Any, _: Any = None
    ) -> None:
        """Add words KEY=VALUE to the options."""
        options = dict(getattr(args, self.dest) or {})
        for word in words:
            key, equals, value = word.partition('=')
            if not equals or not all(key.split('.')):
                raise ConfigError(
                    f'--cfg-options {word}: write KEY=VALUE without white space around "=", for '
                    'example train_cfg.max_epochs=10'
                )
            options[key] = parse_value(value)
        setattr(args, self.dest, options)


def add_config_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--cfg-options``."""
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=OptionsAction,
        metavar='KEY=VALUE',
        help='change settings of the config, for example '
        'model.exit_head.reduction=2 train_cfg.max_epochs=10; lists as key="[a, b]"',
    )


def parse_value(text: str, depth: int = 0) -> Any:
    """Parse a value: a Python literal, or words without quotes, alone or in lists.

    A :class:`ConfigError` if it has more than 20 lists in each other.

    Examples:
        >>> parse_value('my data/a'), parse_value('[a b, (1, .5)]'), parse_value('a,b')
        ('my data/a', ['a b', (1, 0.5)], ['a', 'b'])
    """
    if depth > 20:
        raise ConfigError('--cfg-options: a value has too many brackets')
    text = text.strip()
    if text[:1] in ('"', "'") and text[1:].endswith(text[0]):
        text = text[1:-1].strip()
    if text[:1] in ('[', '(', '{'):
        with contextlib.suppress(ValueError, SyntaxError, MemoryError, RecursionError):
            return ast.literal_eval(text)
    kind = {'[]': list, '()': tuple}.get(text[:1] + text[-1:])
    parts = _split(text[1:-1] if kind else text)
    if kind or len(parts) > 1:
        if not parts[-1].strip():  # nothing follows a last comma
            parts.pop()
        return (kind or list)(parse_value(part, depth + 1) for part in parts)
    return DictAction._parse_int_float_bool(text)


def _split(text: str) -> List[str]:
    """Split at the commas outside of brackets."""
    parts, depth = [''], 0
    for c in text:
        depth += (c in '([{') - (c in ')]}')
        if c == ',' and depth == 0:
            parts.append('')
        else:
            parts[-1] += c
    return parts
