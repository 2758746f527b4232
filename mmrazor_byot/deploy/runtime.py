"""What is on these images? ONNX Runtime and NumPy, no torch here.

python -m mmrazor_byot.deploy.runtime DIR IMAGE...
"""

import argparse
import json
import sys
import time
from typing import Callable, Iterator, Optional, Sequence

from mmrazor_byot.errors import ByotError, ConfigError
from mmrazor_byot.policies import ExitPolicy, FixedExitPolicy, read_policy

from .deployed_network import DeployedNetwork
from .images import load_images
from .manifest import ENDINGS
from .table import format_table

COLUMNS = ('image', 'class', 'score', 'exit', 'ms')


def report_errors(main: Callable[[], None]) -> None:
    """Run a command; an error of the user's is one line and exit status 1.

    Args:
        main: The command.
    """
    try:
        main()
    except ByotError as e:
        sys.stdout.flush()
        print(f'error: {e}', file=sys.stderr, flush=True)
        sys.exit(1)


def parse_args(words: Optional[Sequence[str]] = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='python -m mmrazor_byot.deploy.runtime',
        description='Classify images with an exported network.',
    )
    parser.add_argument('folder', help='what export_onnx.py wrote')
    parser.add_argument('images', nargs='+', help='image files')
    when = parser.add_mutually_exclusive_group()
    when.add_argument(
        '--policy',
        help='policy file: when to stop. Defaults to the exported policy, or the deepest exit',
    )
    when.add_argument('--exit', type=int, metavar='I', help='stop at this exit, 1 to C')
    parser.add_argument('--precision', choices=list(ENDINGS), default='fp32')
    parser.add_argument('--threads', type=int, help='defaults to one a core')
    parser.add_argument('--batch', type=int, default=1, help='images at once. Defaults to 1')
    parser.add_argument('--json', action='store_true', help='answer as JSON, not as a table')
    return parser.parse_args(words)


def choose_policy(
    network: DeployedNetwork, policy_file: Optional[str], exit_number: Optional[int]
) -> ExitPolicy:
    """The policy that a command line asks for.

    Args:
        network (DeployedNetwork): What it is for.
        policy_file (str, optional): A policy file.
        exit_number (int, optional): An exit, 1 to C.

    Raises:
        ConfigError: It is broken, or for another network.
    """
    if policy_file is not None:
        found = read_policy(policy_file)
        found.check(network.num_exits, network.num_classes)
        return found.policy
    if exit_number is None:
        return network.policy
    if not 1 <= exit_number <= network.num_exits:
        raise ConfigError(
            f'--exit {exit_number}: the network has the exits 1 to {network.num_exits}'
        )
    return FixedExitPolicy(exit_number)


def answers(
    network: DeployedNetwork, paths: Sequence[str], policy: ExitPolicy, batch: int = 1
) -> Iterator[dict]:
    """Classify image files.

    Args:
        network (DeployedNetwork): The network.
        paths (Sequence[str]): Image files.
        policy (ExitPolicy): When to stop.
        batch (int): How many go through the network at once. Defaults to 1.

    Yields:
        dict: Of each image ``image``, ``class`` (its name, or its number
        where it has none), ``label``, ``score``, ``exit`` (``'2/4'``) and
        ``ms``, the milliseconds of its batch, without the reading of files,
        for each image.

    Raises:
        ConfigError: ``batch`` is less than 1.
        DatasetError: A file is missing or no image.
    """
    if batch < 1:
        raise ConfigError(f'--batch {batch}: at least 1')
    manifest = network.manifest
    for start in range(0, len(paths), batch):
        part = paths[start : start + batch]
        images = load_images(part, manifest.resize, network.input_size)
        begin = time.perf_counter()
        outcome = network.run(images, policy)
        spent = (time.perf_counter() - begin) * 1000 / len(part)
        for path, scores, number in zip(part, outcome.scores, outcome.exits):
            label = int(scores.argmax())
            name = manifest.classes[label] if manifest.classes else label
            yield {
                'image': str(path),
                'class': name,
                'label': label,
                'score': round(float(scores[label]), 6),
                'exit': f'{number}/{network.num_exits}',
                'ms': round(spent, 3),
            }


def main(words: Optional[Sequence[str]] = None) -> None:
    """Answer, as the command line asks."""
    args = parse_args(words)
    network = DeployedNetwork(args.folder, args.precision, args.threads)
    policy = choose_policy(network, args.policy, args.exit)
    network.warm_up(policy)  # a model's first run is slower: not counted
    rows = list(answers(network, args.images, policy, args.batch))
    if args.json:
        print(json.dumps(rows, indent=2))
    else:
        print(format_table(rows, COLUMNS))


if __name__ == '__main__':
    report_errors(main)
