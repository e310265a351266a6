#!/usr/bin/env python
"""torchrun, with the exit status of a run that was asked to stop.

torchrun itself ends with 1 whatever its processes end with. This ends with
85 if they stopped on a signal and saved (see StopOnSignalHook).
"""
import os
import sys
import tempfile

from mona_mm.starting import answer_signals

if __name__ == '__main__':
    answer_signals()  # torchrun listens once its processes are started

from torch.distributed.elastic.multiprocessing.api import (  # noqa: E402
    SignalException,
)
from torch.distributed.elastic.multiprocessing.errors import (  # noqa: E402
    ChildFailedError,
)
from torch.distributed.run import main  # noqa: E402

if __name__ == '__main__':
    with tempfile.NamedTemporaryFile('r') as told:
        os.environ['MONA_MM_STOPPED'] = told.name
        try:
            main()
        except (ChildFailedError, SignalException):
            if told.read():
                sys.exit(85)
            raise
