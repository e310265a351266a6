"""Silence libraries for a while."""
import logging
import warnings
from contextlib import contextmanager
from typing import Iterator


@contextmanager
def quiet(level: int = logging.INFO) -> Iterator[None]:
    """Drop log records up to a level, and warnings, inside the block."""
    before = logging.root.manager.disable
    logging.disable(level)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        logging.disable(before)
