"""How tuned models are trained, tested and launched."""
from .delta_checkpoint import DeltaCheckpointHook
from .evaluate import FuseHook
from .optim import DeltaOptimWrapperConstructor
from .resumable.loops import ResumableEpochLoop
from .resumable.same_run import FingerprintHook
from .resumable.saving import AtomicCheckpointHook
from .resumable.schedule import ScheduleHook
from .resumable.state import RunStateHook
from .resumable.stop import StopOnSignalHook
from .run_record import RunRecordHook
from .trackers import MLflowVisBackend
from .watch.labels import LabelsHook
from .watch.nonfinite import NonFiniteLossHook
from .watch.rates import LearningRatesHook
from .watch.trainable import TrainabilityCheckHook

__all__ = [
    'AtomicCheckpointHook', 'DeltaCheckpointHook',
    'DeltaOptimWrapperConstructor', 'FingerprintHook', 'FuseHook',
    'LabelsHook', 'LearningRatesHook', 'MLflowVisBackend',
    'NonFiniteLossHook',
    'ResumableEpochLoop', 'RunRecordHook', 'RunStateHook', 'ScheduleHook',
    'StopOnSignalHook', 'TrainabilityCheckHook'
]
