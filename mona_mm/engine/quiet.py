"""Silence libraries for a while."""
import logging
import warnings
from contextlib import contextmanager
from typing import Iterator

from mmengine.logging import MMLogger


@contextmanager
def quiet(level: int = logging.INFO) -> Iterator[None]:
    """Drop log records up to a level, and warnings, inside the block."""
    before, logger = logging.root.manager.disable, (
        MMLogger.get_current_instance())
    try:
        logging.disable(level)
        logger.setLevel(logger.level)  # or mmengine's go on as they know it
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        logging.disable(before)
        logger.setLevel(logger.level)
