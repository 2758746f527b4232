"""Errors that tell the user what was wrong and what to do.

The tools print these as one line, without a traceback. Anything else that is raised is a bug, and
keeps its traceback.
"""


class ByotError(Exception):
    """Base of all errors that bad input can cause."""


class ConfigError(ByotError, ValueError):
    """A setting that does not fit: a section, a head, a weight, a launch."""


class DatasetError(ByotError, RuntimeError):
    """Data that is missing, truncated, or labelled out of range."""


class CheckpointError(ByotError, RuntimeError):
    """A checkpoint that is missing, truncated, unsafe or does not fit."""


class ZooError(ByotError, RuntimeError):
    """A model of the zoo that is unknown, out of reach or damaged."""


class NonFiniteLossError(ByotError, RuntimeError):
    """A loss that became NaN or infinite."""


class DeployError(ByotError, RuntimeError):
    """An exported network that is damaged, unfit or cannot be made."""
