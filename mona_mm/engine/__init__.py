"""How tuned models are trained, tested and launched."""
from .check import TrainabilityCheckHook
from .delta_checkpoint import DeltaCheckpointHook
from .fuse_hook import FuseHook
from .optim import DeltaOptimWrapperConstructor

__all__ = [
    'DeltaCheckpointHook', 'DeltaOptimWrapperConstructor', 'FuseHook',
    'TrainabilityCheckHook'
]
