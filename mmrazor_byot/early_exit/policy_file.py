"""Exit policies as JSON files."""

import json
import os
from typing import Any, NamedTuple

from mmrazor_byot.errors import ConfigError
from mmrazor_byot.files import PathLike, read_json, write_text

from .base import ExitPolicy, build_policy

FORMAT = 'mmrazor_byot exit policy 1'


class PolicyFile(NamedTuple):
    """The content of a policy file.

    Attributes:
        policy (ExitPolicy): The policy.
        num_exits (int): Number of exits of the network it was calibrated for, C.
        num_classes (int): Number of classes of that network, K.
        calibration (dict): How the policy was found; empty if it was written by hand.
    """

    policy: ExitPolicy
    num_exits: int
    num_classes: int
    calibration: dict = {}

    def check(self, num_exits: int, num_classes: int) -> None:
        """Raise a ConfigError if the policy is for another number of exits or classes."""
        if (num_exits, num_classes) != (self.num_exits, self.num_classes):
            raise ConfigError(
                f'the policy was calibrated for {self.num_exits} exits and {self.num_classes} '
                f'classes, the network has {num_exits} and {num_classes}; calibrate it again'
            )
        self.policy.check(num_exits)

    def save(self, path: PathLike) -> None:
        """Write the file."""
        write_text(path, policy_text(self))


def policy_text(content: PolicyFile) -> str:
    """The text of a policy file."""
    fields = {**content._asdict(), 'policy': content.policy.config()}
    return json.dumps(dict(format=FORMAT, **fields), indent=2) + '\n'


def read_policy(path: PathLike) -> PolicyFile:
    """Read a policy file.

    Raises:
        ConfigError: It does not exist, is not JSON or not a policy file.
    """
    if not os.path.isfile(path):
        raise ConfigError(
            f'policy file "{path}" does not exist; tools/calibrate_exits.py writes it'
        )
    name = f'policy file "{path}"'
    return parse_policy(read_json(path, name), name)


def parse_policy(data: Any, name: str) -> PolicyFile:
    """Check the parsed JSON of a policy file, which error messages call ``name``.

    Raises:
        ConfigError: It is not a policy file, or its policy is wrong.
    """
    if not isinstance(data, dict) or data.get('format') != FORMAT:
        found = data.get('format') if isinstance(data, dict) else type(data)
        raise ConfigError(
            f'{name} is not a policy file: its format should be "{FORMAT}", not {found!r}'
        )
    missing = {'policy', 'num_exits', 'num_classes'} - data.keys()
    if missing:
        raise ConfigError(f'{name} lacks {sorted(missing)}')
    sizes = data['num_exits'], data['num_classes']
    if not all(type(n) is int and n > 1 for n in sizes):
        raise ConfigError(
            f'{name}: num_exits and num_classes are {sizes}; both must be whole numbers above 1'
        )
    try:
        policy = build_policy(data['policy'])
        policy.check(data['num_exits'])
    except ConfigError as e:
        raise ConfigError(f'{name}: {e}') from e
    return PolicyFile(policy, *sizes, data.get('calibration', {}))
