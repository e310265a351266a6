"""How tuned models are trained, tested and launched."""
from .optim import DeltaOptimWrapperConstructor

__all__ = ['DeltaOptimWrapperConstructor']
