from .byot import BYOT

__all__ = ['BYOT']
