"""How tuned models are trained, tested and launched."""
from .check import TrainabilityCheckHook
from .delta_checkpoint import DeltaCheckpointHook
from .optim import DeltaOptimWrapperConstructor

__all__ = [
    'DeltaCheckpointHook', 'DeltaOptimWrapperConstructor',
    'TrainabilityCheckHook'
]
