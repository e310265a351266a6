"""How tuned models are trained, tested and launched."""
from .check import TrainabilityCheckHook
from .fingerprint import FingerprintHook
from .loops import ResumableEpochLoop
from .nonfinite import NonFiniteLossHook
from .optim import DeltaOptimWrapperConstructor
from .run_state import RunStateHook
from .saving import AtomicCheckpointHook
from .stop import StopOnSignalHook

__all__ = [
    'AtomicCheckpointHook', 'DeltaOptimWrapperConstructor', 'FingerprintHook',
    'NonFiniteLossHook', 'ResumableEpochLoop', 'RunStateHook',
    'StopOnSignalHook', 'TrainabilityCheckHook'
]
