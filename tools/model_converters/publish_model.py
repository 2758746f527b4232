"""Prepare a checkpoint for publishing: weights only, hash in the name."""

from mmrazor_byot.command import catch_signals

if __name__ == '__main__':
    catch_signals()

import argparse

from mmrazor_byot.export.publish import publish
from mmrazor_byot.launch import run_tool


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('checkpoint', help='training checkpoint')
    parser.add_argument('--out', required=True, help='folder to write to')
    parser.add_argument('--name', required=True, help='name of the recipe')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    print(publish(args.checkpoint, args.out, args.name))


if __name__ == '__main__':
    run_tool(main)
