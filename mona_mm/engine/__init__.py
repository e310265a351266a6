"""How tuned models are trained, tested and launched."""
from .check import TrainabilityCheckHook
from .optim import DeltaOptimWrapperConstructor

__all__ = ['DeltaOptimWrapperConstructor', 'TrainabilityCheckHook']
