"""Checkpoint files that run code when they are unpickled."""

import os
import pickle
import zipfile

import torch
from mmengine.logging import HistoryBuffer


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def malicious(kind, marker):
    """A pickle that makes the folder ``marker`` when it is run."""
    if kind == 'getattr on os':  # which is an attribute of shutil
        size = len(marker).to_bytes(4, 'little')
        mkdir = b'cbuiltins\ngetattr\ncshutil\nos\nX\5\0\0\0mkdir\x86R'
        return b'\x80\2' + mkdir + b'X' + size + marker.encode() + b'\x85R.'
    mean = Call(getattr, HistoryBuffer, 'mean')
    call = {
        'function': Call(os.mkdir, marker),
        'eval': Call(eval, f'__import__("os").mkdir({marker!r})'),
        'globals of a method': Call(getattr, mean, '__globals__'),
    }[kind]
    return pickle.dumps(dict(state_dict=call), protocol=2)


def put_pickle(path, pickled, zipped=True):
    """Write a checkpoint file that holds these pickled bytes."""
    if not zipped:
        path.write_bytes(pickled)
        return
    torch.save({}, path)
    with zipfile.ZipFile(path) as f:
        parts = {name: f.read(name) for name in f.namelist()}
    with zipfile.ZipFile(path, 'w') as f:
        for name, data in parts.items():
            f.writestr(name, pickled if name.endswith('data.pkl') else data)
