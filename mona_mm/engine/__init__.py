"""How tuned models are trained, tested and launched."""
from .check import TrainabilityCheckHook
from .fuse_hook import FuseHook
from .optim import DeltaOptimWrapperConstructor

__all__ = [
    'DeltaOptimWrapperConstructor', 'FuseHook', 'TrainabilityCheckHook'
]
