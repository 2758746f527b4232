"""Errors caused by invalid input, which say what is wrong and how to fix it.

The tools print them as one line; any other exception is a bug and keeps its traceback.
"""


class ByotError(Exception):
    """Base class of all errors that are caused by invalid input."""


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


class DeployError(ByotError, RuntimeError):
    """A network that cannot be exported, or an exported file that cannot be run."""
