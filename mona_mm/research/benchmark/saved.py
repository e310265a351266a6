"""The bytes that autograd keeps for the backward pass."""
from typing import Dict, Iterator, List, NamedTuple, Set
from weakref import ref

import torch
from torch import Tensor, nn


class Saved(NamedTuple):
    """Bytes kept between forward and backward pass.

    Attributes:
        activations (int): Of tensors made in this forward pass (and the
            images, where the first layer trains).
        cache (int): Of constants that the modules hold from one forward
            pass to the next, such as attention masks, whether the graph uses
            them or not; what a whole process shares counts for each model.
    """
    activations: int
    cache: int


def saved_activations(model: nn.Module, images: Tensor) -> Saved:
    """Run one forward pass and count what autograd keeps of it.

    Every storage counts once, in full, however many views of it are kept;
    parameters and buffers do not count, nor does what recomputation
    (``with_cp``) will make again. A tensor that an autograd function keeps
    beside ``save_for_backward`` is not seen.

    Args:
        model (nn.Module): In the mode to be measured.
        images (Tensor): (B, 3, H, W), or whatever the model takes.
    """
    packed: List[ref] = []

    def pack(tensor: Tensor) -> Tensor:
        # An alias, because an output kept by its own node would be a cycle.
        alias = tensor.detach()
        packed.append(ref(alias))
        return alias

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        outputs = model(images)
    # What the graph dropped on the way is not kept, so it does not count.
    alive = [t for t in (r() for r in packed) if t is not None]
    kept = {_address(t): t.untyped_storage().nbytes() for t in alive}
    constants = _constants(model)
    own = {_address(t) for t in (*model.parameters(), *model.buffers())}
    activations = sum(n for address, n in kept.items()
                      if address not in own and address not in constants)
    del outputs
    return Saved(activations, _cache_bytes(model, constants))


def _cache_bytes(model: nn.Module, constants: Dict[int, int]) -> int:
    """What the model says it caches, and at least what is seen of it."""
    seen = sum(constants.values())
    return max(model.cache_bytes(), seen) if hasattr(
        model, 'cache_bytes') else seen


def _constants(model: nn.Module) -> Dict[int, int]:
    """Storages of gradient-free tensors in the modules' own attributes."""
    named = {_address(t) for t in (*model.parameters(), *model.buffers())}
    found, seen = {}, set()
    for module in model.modules():
        for tensor in _tensors(vars(module), seen):
            if tensor.grad_fn is None and not tensor.requires_grad:
                found[_address(tensor)] = tensor.untyped_storage().nbytes()
    return {k: v for k, v in found.items() if k not in named}


def _tensors(value: object, seen: Set[int]) -> Iterator[Tensor]:
    """All tensors in a value, through containers and our own objects."""
    if isinstance(value, Tensor):
        yield value
        return
    if id(value) in seen:
        return
    if isinstance(value, dict):
        items = value.values()
    elif isinstance(value, (list, tuple)):
        items = value
    elif _is_ours(value):
        items = vars(value).values()
    else:
        return
    seen.add(id(value))
    for item in items:
        yield from _tensors(item, seen)


def _is_ours(value: object) -> bool:
    """Whether a value is a plain object of this package, such as a cache."""
    return type(value).__module__.startswith('mona_mm.') and hasattr(
        value, '__dict__') and not isinstance(value, nn.Module)


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
