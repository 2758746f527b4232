"""What many tests build."""

# ruff: noqa: E402
import os

os.environ.setdefault('OMP_NUM_THREADS', '1')  # before torch, as in tests/conftest.py

from tiny import batch, build_byot, mmpretrain_scope, tiny_architecture  # noqa: F401
