#!/usr/bin/env python
"""torchrun, with the exit status of a run that was asked to stop.

torchrun itself ends with 1 whatever its processes end with. This ends with
85 if they stopped on a signal and saved (see StopOnSignalHook), and with 128
and the signal's number if it came before there was anything to save. Where
the processes meet comes from the environment (see mona_mm.engine.cluster).
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

from mona_mm.engine.cluster import torchrun_options
from mona_mm.errors import UserError

if __name__ == '__main__':
    try:
        words = [*torchrun_options(os.environ), *sys.argv[1:]]
    except UserError as error:
        raise SystemExit(f'error: {error}') from None
    with tempfile.NamedTemporaryFile('r') as told:
        os.environ['MONA_MM_STOPPED'] = told.name
        try:
            main(words)
        except (ChildFailedError, SignalException) as error:
            if told.read():
                sys.exit(85)
            if isinstance(error, SignalException):
                sys.exit(128 + error.sigval)
            raise
