from .batch_samples import BatchSamples, stack_targets

__all__ = ['BatchSamples', 'stack_targets']
