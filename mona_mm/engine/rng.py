"""The state of every random generator, as tensors and plain data."""
import random
from typing import Any, Dict

import numpy as np
import torch


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
    """
    python, numpy = state['python'], state['numpy']
    random.setstate((python['version'], tuple(python['words'].tolist()),
                     python['gauss']))
    np.random.set_state(
        (numpy['kind'], numpy['keys'].cpu().numpy().astype(np.uint32),
         numpy['position'], numpy['has_gauss'], numpy['cached']))
    torch.set_rng_state(state['torch'].cpu())
    if 'cuda' in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state['cuda'].cpu())
