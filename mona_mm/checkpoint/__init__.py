"""Checkpoint files: reading them safely, and the layouts of their keys."""
from .io import fetch, read_checkpoint
from .layouts import BaseState, base_state, unwrap

__all__ = [
    'BaseState', 'base_state', 'fetch', 'read_checkpoint', 'unwrap'
]
