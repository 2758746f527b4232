"""What a GPU would have to be waited for, noticed on any device."""

import traceback

from torch.utils._python_dispatch import TorchDispatchMode

#: Each of them stops the host until a GPU has caught up.
SYNCS = ['_local_scalar_dense', 'is_nonzero', 'nonzero', 'equal', 'masked_select', '_unique2']


class Waits(TorchDispatchMode):
    """Notes in ``places`` who reads a value back, or waits for a copy to another device."""

    def __init__(self):
        super().__init__()
        self.places = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function._schema.name.removeprefix('aten::')
        if name in SYNCS or name == '_to_copy' and is_waited_for(args[0], **kwargs or {}):
            frames = [f for f in traceback.extract_stack()[:-1] if 'torch/utils' not in f.filename]
            self.places.append(f'{frames[-1].filename}:{frames[-1].lineno} {frames[-1].line}')
        return function(*args, **(kwargs or {}))


def is_waited_for(tensor, device=None, non_blocking=False, **kwargs):
    """Whether a copy, with the arguments of ``Tensor.to``, holds up the host."""
    return device not in (None, tensor.device) and not non_blocking
