"""Checkpoint files: reading them safely, and the layouts of their keys.

Importing this makes mmengine read checkpoints safely, too; see
:mod:`.loader`.
"""
from .cache import fetch
from .io import read_checkpoint
from .layouts import BaseState, base_state, unwrap
from .loader import install

__all__ = [
    'BaseState', 'base_state', 'fetch', 'read_checkpoint', 'unwrap'
]

install()
