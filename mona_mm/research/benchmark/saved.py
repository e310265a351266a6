"""The bytes that autograd keeps for the backward pass."""
from typing import Dict, Iterator, List, NamedTuple, Optional, Set
from weakref import ref

import torch
from torch import Tensor, nn

from mona_mm.tuners import build_tuner

from .measure import MIB, Measure, Rows, compared
from .options import Size
from .subjects import Comparison, build, set_skip


class Kept(NamedTuple):
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


def saved_activations(model: nn.Module, images: Tensor) -> Kept:
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
    # What the model says it caches, and at least what is seen of it.
    cache = sum(constants.values())
    if hasattr(model, 'cache_bytes'):
        cache = max(model.cache_bytes(), cache)
    return Kept(activations, cache)


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
    elif type(value).__module__.startswith('mona_mm.') and hasattr(
            value, '__dict__') and not isinstance(value, nn.Module):
        items = vars(value).values()  # such as a cache
    else:
        return
    seen.add(id(value))
    for item in items:
        yield from _tensors(item, seen)


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def published_saved_mib(comparison: Comparison, dtype: str, size: Size,
                        method: str) -> Optional[float]:
    """MiB that the published form of a method keeps, which a family states.

    All of them are constants (``saved_mib``), not taken here: measured on the
    published definitions of the methods (backbone alone, float32, train mode,
    drop-path 0.3), counted as above.

    Args:
        comparison (Comparison): Of the backbone.
        dtype (str): The precision of the run.
        size (Size): The image batch.
        method (str): Label of the subject.

    Returns:
        float, optional: ``None`` unless exactly this was measured. A
        backbone with ``with_cp`` is set against the published one without.
    """
    arch, family = comparison.backbone.get('arch'), comparison.family
    if dtype != 'float32' or not isinstance(arch, str) or (
            comparison.backbone['drop_path_rate'] != 0.3
            or not family.saved_mib):
        return None
    zoo = family.zoo
    row = next((row for (name, at), row in family.saved_mib.items()
                if zoo[name] == zoo.get(arch) and at == str(size)), {})
    whole = method == 'Full' or method.startswith('full (')
    return row.get('full' if whole else method)


class Saved(Measure):
    """The bytes that a training step keeps for its backward pass.

    Figures: ``activations_mib``, ``cache_mib`` and, where that was measured,
    ``published_mib``.
    """

    name = 'saved'
    parts = ('activations_mib', )

    def measure(self) -> Rows:
        comparison, options = self.comparison, self.options
        images, rows = options.images(self.size, comparison.channels), {}
        known = {**comparison.others, **comparison.tuners}
        with self.bar(len(comparison.subjects)) as bar:
            for label, builder in comparison.subjects.items():
                model = build(builder, options.seed, options.place)
                model.train()
                set_skip(model, False)
                torch.manual_seed(options.seed)
                with options.autocast():
                    saved = saved_activations(model, images)
                # The published figures are of methods as they are by default.
                tuner = known.get(label)
                default = tuner is None or vars(
                    build_tuner(dict(tuner))) == vars(
                        build_tuner(dict(type=tuner['type'])))
                rows[label] = dict(
                    activations_mib=saved.activations / MIB,
                    cache_mib=saved.cache / MIB,
                    published_mib=published_saved_mib(
                        comparison, options.dtype, self.size,
                        label) if default else None)
                bar.update()
        return rows

    def ratios(self, rows: Rows) -> List[dict]:
        return super().ratios(rows) + [
            compared(label, 'published', row['activations_mib'], published)
            for label, row in rows.items()
            if (published := row['published_mib'])]

    def show(self, rows: Rows, ratios: List[dict]) -> str:
        return self.by_reference(
            rows, ratios, f'Saved activations, {self.size}',
            {'MiB': 'activations_mib', 'cache MiB': 'cache_mib',
             'published MiB': 'published_mib'}, ('published', ))
