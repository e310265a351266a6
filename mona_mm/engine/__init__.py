"""How tuned models are trained, tested and launched."""
from .check import TrainabilityCheckHook
from .delta_checkpoint import DeltaCheckpointHook
from .fingerprint import FingerprintHook
from .fuse_hook import FuseHook
from .labels_hook import LabelsHook
from .loops import ResumableEpochLoop
from .nonfinite import NonFiniteLossHook
from .optim import DeltaOptimWrapperConstructor
from .run_record import RunRecordHook
from .run_state import RunStateHook
from .saving import AtomicCheckpointHook
from .schedule import ScheduleHook
from .stop import StopOnSignalHook

__all__ = [
    'AtomicCheckpointHook', 'DeltaCheckpointHook',
    'DeltaOptimWrapperConstructor', 'FingerprintHook', 'FuseHook',
    'LabelsHook', 'NonFiniteLossHook', 'ResumableEpochLoop',
    'RunRecordHook', 'RunStateHook', 'ScheduleHook', 'StopOnSignalHook',
    'TrainabilityCheckHook'
]
