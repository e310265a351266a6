"""The state of every random generator, as tensors and plain data."""
import random
from typing import Any, Dict

import numpy as np
import torch

from mona_mm.errors import CheckpointError


def get_rng_state() -> Dict[str, Any]:
    """Read Python's, NumPy's and PyTorch's generators of this process.

    Returns:
        dict: Integers and tensors alone, so that a checkpoint with it stays
        readable without unpickling anything else. ``cuda`` is the current
        device's, and is there only with one.
    """
    version, words, gauss = random.getstate()
    kind, keys, position, has_gauss, cached = np.random.get_state()
    state = dict(
        python=dict(version=version, words=torch.tensor(words), gauss=gauss),
        numpy=dict(
            kind=kind,
            keys=torch.from_numpy(keys.astype(np.int64)),
            position=int(position),
            has_gauss=int(has_gauss),
            cached=float(cached)),
        torch=torch.get_rng_state())
    if torch.cuda.is_available():
        state['cuda'] = torch.cuda.get_rng_state()
    return state


def set_rng_state(state: Dict[str, Any]) -> None:
    """Put the generators where :func:`get_rng_state` found them.

    Args:
        state (dict): Its tensors may be on any device.

    Raises:
        CheckpointError: If it is broken; it is from a file.
    """
    try:
        python, numpy = state['python'], state['numpy']
        random.setstate((python['version'], tuple(python['words'].tolist()),
                         python['gauss']))
        # NumPy reads its 624 words from there without a look.
        if not 0 <= numpy['position'] <= 624:
            raise ValueError(f'position {numpy["position"]} of 624 words')
        np.random.set_state(
            (numpy['kind'], numpy['keys'].cpu().numpy().astype(np.uint32),
             numpy['position'], numpy['has_gauss'], numpy['cached']))
        torch.set_rng_state(state['torch'].cpu())
        if 'cuda' in state and torch.cuda.is_available():
            torch.cuda.set_rng_state(state['cuda'].cpu())
    except (AttributeError, IndexError, KeyError, OverflowError, RuntimeError,
            TypeError, ValueError) as error:
        raise CheckpointError(
            'the random generators in the checkpoint are broken '
            f'({type(error).__name__}: {error})') from error
