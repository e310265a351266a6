"""A run that is asked to stop while it is starting.

The libraries take many seconds to import, and a checkpoint to load. There is
nothing to save yet, so the answer is short: "call me again". This module
imports nothing that takes time.
"""
import os
import signal
import sys

from mona_mm.compat import in_children, installed

#: As :class:`mona_mm.errors.Interrupted`, which takes longer to import.
STATUS = 85
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def answer_signals() -> None:
    """End with 85 on SIGTERM and SIGINT, until training itself listens.

    :class:`mona_mm.engine.StopOnSignalHook` takes over with the first
    iteration.
    """
    for number in _SIGNALS:
        signal.signal(number, _stop)
    # Who is forked meanwhile (data loaders, pools) dies of it as usual.
    in_children(leave_signals)
    installed('signals while starting', leave_signals)


def leave_signals() -> None:
    """Give the signals back, as far as they still are ours."""
    for number in _SIGNALS:
        handler = signal.getsignal(number)
        if handler is _stop:
            signal.signal(number, usual(number, handler))


def usual(number: int, handler):
    """What a handler is to be replaced by later: ours by Python's own."""
    if handler is not _stop:
        return handler
    return signal.default_int_handler if number == signal.SIGINT else (
        signal.SIG_DFL)


def _stop(number: int, frame) -> None:
    """Say so and end, from wherever the interpreter is.

    An exception would have to make its way through half-imported libraries,
    some of which catch everything.
    """
    if told := os.environ.get('MONA_MM_STOPPED'):
        with open(told, 'a') as file:  # tools/torchrun.py reads it
            file.write(f'{os.environ.get("RANK", 0)}\n')
    os.write(2, f'{signal.Signals(number).name} while starting: nothing to '
             f'save yet; start it again (exit status {STATUS})\n'.encode())
    sys.stdout.flush()
    os._exit(STATUS)
