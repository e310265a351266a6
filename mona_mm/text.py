"""Small helpers for messages."""
from typing import Sequence


def some(names: Sequence[str], most: int = 8) -> str:
    """Join names for a message, at most ``most`` of them."""
    more = f' and {len(names) - most} more' if len(names) > most else ''
    return (', '.join(names[:most]) + more) or 'none'
