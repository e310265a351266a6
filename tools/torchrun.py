#!/usr/bin/env python
"""torchrun, with the exit status of a run that was asked to stop.

torchrun itself ends with 1 whatever its processes end with. This ends with
85 if they stopped on a signal and saved (see StopOnSignalHook).
"""
import os
import sys
import tempfile

from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import main

if __name__ == '__main__':
    with tempfile.NamedTemporaryFile('r') as told:
        os.environ['MONA_MM_STOPPED'] = told.name
        try:
            main()
        except (ChildFailedError, SignalException):
            if told.read():
                sys.exit(85)
            raise
