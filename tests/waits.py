"""What a GPU would have to be waited for, noticed on any device."""

from torch.utils._python_dispatch import TorchDispatchMode


class Waits(TorchDispatchMode):
    """Notes the operators that read a value back."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if any(word in str(function) for word in ('_local_scalar_dense', 'nonzero')):
            self.names.append(str(function))
        return function(*args, **(kwargs or {}))
