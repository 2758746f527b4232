"""Errors caused by invalid input, which say what is wrong and how to fix it.

The tools print them as one line; any other exception is a bug and keeps its traceback.
"""

#: A longer message is cut, as input can be of any length.
MAX_LENGTH = 1000


def one_line(text: object) -> str:
    """A text on one line, with control characters escaped."""
    line = '; '.join(filter(None, map(str.strip, str(text).splitlines())))
    line = ''.join(c if c.isprintable() else ascii(c)[1:-1] for c in line)
    return line if len(line) <= MAX_LENGTH else f'{line[:MAX_LENGTH]}...'


class ByotError(Exception):
    """Base class of all errors that are caused by invalid input; its text is one line."""

    def __str__(self) -> str:
        text = super().__str__()
        if 'Original Traceback (most recent call last)' in text:  # torch's, from a worker process
            text = text.rpartition(f'{type(self).__name__}: ')[2]
        return one_line(text)


class ByotWarning(UserWarning):
    """What is probably not meant; the tools print it as one line."""


class DeprecatedWarning(ByotWarning, FutureWarning):
    """A name of an earlier version, which will be removed."""


class ConfigError(ByotError, ValueError):
    """An invalid setting of a config, a flag or an argument."""


class DatasetError(ByotError, RuntimeError):
    """Data that are missing, truncated, or have a label out of range."""


class CheckpointError(ByotError, RuntimeError):
    """A checkpoint that is missing, truncated, unsafe, or does not fit the model."""


class ZooError(ByotError, RuntimeError):
    """A model of the zoo that is unknown, cannot be downloaded, or is damaged."""


class NonFiniteLossError(ByotError, RuntimeError):
    """A loss that is NaN or infinite."""


class NonFiniteOutputError(ByotError, RuntimeError):
    """A network that answers with NaN or infinity."""


class DeployError(ByotError, RuntimeError):
    """A network that cannot be exported, or an exported file that cannot be run."""
