"""What a tuning method says, and the places it may speak of.

The sites of a transformer block (everything in brackets is a site)::

    x -+- norm1 -[attn_in]- attn -[attn_out]- drop_path -(+)-[after_attn]- h
       +------------------[beside_attn]-------------------+
       +--------------------------------------------------+

    h -+- norm2 -[ffn_in]- ffn -[ffn_out]- drop_path - (+) -[after_ffn]- y
       +-----------------[beside_ffn]-------------------+
       +------------------------------------------------+

    qkv, proj: the linear layers inside attn; fc1, fc2: those inside ffn

A module at a site maps ``(x: (B, N, C), hw_shape: (H, W)) -> (B, N, C)``.
What ``beside_*`` returns is added to the sum, what the others return
replaces their input. ``qkv``, ``proj``, ``fc1`` and ``fc2`` take a linear
layer and return one under the same keys.

Beyond the sites there are ``tokens``, which join the sequence of a block,
and ``side``, a network beside the backbone (:data:`EXTRAS`).

What a module at a site may say of itself:

- ``takes_tokens = True``: it also sees the tokens that are no patches (class
  and register tokens, extra ones). Then ``x`` is (B, T + N, C) and the
  keyword ``tokens`` is T; without it they pass the site unchanged.
- ``takes_normed = True`` (``beside_*``): its input is what the norm of the
  branch gives, instead of the block's stream.
- ``in_drop_path = True`` (``beside_*``): its output goes through the branch's
  drop-path too, by a draw of its own; without it the output stays outside.
- ``line_by_line = False``: it has a fast, exact form beside the one that
  the papers write; the backbone's switch of that name sets the attribute.
- ``takes_norm = True`` (``after_*``): it accepts ``next_norm``, a frozen
  layer norm that follows, and then returns a tuple of its output and the
  norm of it; so it need not keep its output.
- ``bias_of_zeros = True`` (linear sites): it maps zeros to its ``bias``, as
  the layer does that it stands for.
- ``neutral()``: the values of its own parameters with which it does nothing,
  by name, where they are not zeros (:class:`mona_mm.checkpoint.switch.
  DeltaSwitch` switches it off with them).
- :class:`mona_mm.ops.fold.Foldable`: it has a folded form for inference.
"""
import inspect
from colorsys import hls_to_rgb
from typing import Dict, NamedTuple, Optional, Sequence, Tuple
from zlib import crc32

from mmengine.utils import get_object_from_string
from torch import Tensor, nn

from mona_mm.registry import TUNERS

#: Linear layers of a block: a tuner returns a linear layer for one.
LINEARS = ('qkv', 'proj', 'fc1', 'fc2')
SITES = ('attn_in', 'attn_out', 'beside_attn', 'after_attn', 'ffn_in',
         'ffn_out', 'beside_ffn', 'after_ffn', *LINEARS)
#: What a tuner may ask for besides.
EXTRAS = ('tokens', 'side')


class Facts(NamedTuple):
    """What a tuner may know of a backbone before it builds.

    Attributes:
        depth (int): Number of blocks.
        patch_size (int): Side of a patch, in pixels of the image.
        norms (tuple[type, ...]): Classes of the backbone's norms.
    """
    depth: int
    patch_size: int
    norms: Tuple[type, ...]


class BlockOutput(NamedTuple):
    """What a side network sees of one block.

    Attributes:
        x (Tensor): (B, N, C), the patches after the block, N = H * W;
            without class, register and extra tokens.
        hw_shape (tuple[int, int]): (H, W).
        tokens (Tensor, optional): (B, M, C), the block's extra tokens after
            the block; None if it has none.
    """
    x: Tensor
    hw_shape: Tuple[int, int]
    tokens: Optional[Tensor] = None


class Tuner:
    """One delta-tuning method: what it inserts where, and what else trains.

    A tuner knows no backbone but its :class:`Facts`. The backbone calls
    :meth:`start`, then :meth:`build`, :meth:`adapt` and :meth:`tokens` once
    for every block and every place in :attr:`sites`, :meth:`side` once, and
    :meth:`trains` once for every pretrained parameter.
    """

    #: Where the method inserts something, out of ``SITES`` and ``EXTRAS``.
    sites: Tuple[str, ...] = ()

    #: How other code calls what the method inserts: {their name: ours}, of
    #: a tensor by its whole name, or of a part of names.
    foreign_names: Dict[str, str] = {}

    #: Whose names these are, as ``convert_checkpoint.py --from`` calls them;
    #: ``'mona'`` is the release of Mona's paper.
    foreign_source: str = 'mona'

    #: Arguments that act in training alone, or only on speed: a checkpoint
    #: may be loaded whatever they were.
    free: Tuple[str, ...] = ('drop_rate', )

    #: Whether nothing inserted and nothing trained is what is meant.
    may_do_nothing: bool = False

    #: What tables and pictures call it; by default as the class is called.
    display_name: str = ''

    #: Of its lines in pictures, ``'#rrggbb'``; by default one of its own,
    #: made of its name.
    colour: str = ''

    #: Of the backbone; :meth:`start` sets it.
    facts: Optional[Facts] = None

    def __init_subclass__(cls, **kwargs) -> None:
        super().__init_subclass__(**kwargs)
        own = vars(cls)
        cls.display_name = own.get('display_name', cls.__name__)
        hue = crc32(cls.__name__.encode()) / 2**32
        cls.colour = own.get('colour', '#' + ''.join(
            f'{round(255 * c):02x}' for c in hls_to_rgb(hue, .4, .6)))

    def start(self, facts: Facts) -> None:
        """Learn about the backbone; called once, before anything is built.

        Args:
            facts (Facts): Kept as :attr:`facts`.
        """
        self.facts = facts

    def build(self, site: str, dims: int) -> Optional[nn.Module]:
        """Make the module for one site of one block.

        Args:
            site (str): One of :attr:`sites`, no linear layer.
            dims (int): C, the width of the block.

        Returns:
            nn.Module, optional: Maps ``(x: (B, N, C), (H, W))`` to
            (B, N, C). ``None`` leaves the site as it is.
        """
        raise NotImplementedError(self._lacks(site, 'build'))

    def adapt(self, site: str, linear: nn.Linear) -> nn.Linear:
        """Return the linear layer that stands in for ``linear``.

        Args:
            site (str): One of ``LINEARS``.
            linear (nn.Linear): The pretrained layer; ``qkv`` is C -> 3C.

        Returns:
            nn.Linear: It keeps the names ``weight`` and ``bias``.
        """
        raise NotImplementedError(self._lacks(site, 'adapt'))

    def tokens(self, dims: int) -> Optional[nn.Module]:
        """Make the extra tokens of one block.

        Args:
            dims (int): C, the width of the block.

        Returns:
            nn.Module, optional: Maps a batch size B to (B, M, C). They are
            put before everything else when the block starts, and taken off
            when it ends.
        """
        raise NotImplementedError(self._lacks('tokens', 'tokens'))

    def side(self, backbone: nn.Module) -> Optional[nn.Module]:
        """Make the network beside the backbone.

        Args:
            backbone (nn.Module): With everything else in place.

        Returns:
            nn.Module, optional: Maps the images (B, 3, H, W) and a list of
            :class:`BlockOutput`, in the order of the blocks, to a tuple of
            maps, which stand for the backbone's. Its attribute ``wants``, a
            set of indices of blocks, says which are kept; by default all.
        """
        raise NotImplementedError(self._lacks('side', 'side'))

    def wrap(self, name: str, module: nn.Module) -> nn.Module:
        """Return what stands in for a pretrained module.

        A backbone asks for every norm, and for every convolution and linear
        layer outside of the blocks, if the method overrides this.

        Args:
            name (str): Its name within the backbone.
            module (nn.Module): The module.

        Returns:
            nn.Module: A module under the same keys; by default itself.
        """
        return module

    def trains(self, name: str, param: nn.Parameter, owner: nn.Module,
               from_end: Optional[int]) -> bool:
        """Whether a pretrained parameter of the backbone trains.

        Args:
            name (str): Its name within the backbone.
            param (nn.Parameter): The parameter.
            owner (nn.Module): The module that holds it.
            from_end (int, optional): Its block, counted back from the last
                one (0); ``None`` outside the blocks.
        """
        return False

    def shared(self) -> Sequence[nn.Module]:
        """The modules that several blocks use; each belongs to one of them.

        Blocks are gathered one by one where a model is shared out over
        processes: one that others look into stays gathered. Defaults to none.
        """
        return ()

    def loaded(self, module: nn.Module) -> None:
        """Start what depends on pretrained weights, now that they are there.

        It is called without gradients, and not if a checkpoint brings what
        the method inserted.

        Args:
            module (nn.Module): One that the method made.
        """

    def _lacks(self, site: str, method: str) -> str:
        return (f'{type(self).__name__} names {site!r} in `sites`, but does '
                f'not define `{method}`')


def build_tuner(cfg) -> Tuner:
    """Build a tuner from its config.

    Args:
        cfg (dict | Tuner): ``dict(type='Mona', bottleneck_dims=64)``.

    Raises:
        TypeError: If ``cfg`` is no such dict, or has an unknown argument.
        KeyError: If the type is unknown; the message lists the known ones.
    """
    if isinstance(cfg, Tuner):
        return cfg
    if not isinstance(cfg, dict) or 'type' not in cfg:
        raise TypeError("tuner: expected a dict with a 'type', such as "
                        f"dict(type='Mona'), but got {cfg!r}")
    kwargs = {k: v for k, v in cfg.items() if k not in ('type', '_scope_')}
    cls = tuner_class(cfg['type'])
    accepted = list(inspect.signature(cls).parameters)
    if unknown := sorted(set(kwargs) - set(accepted)):
        raise TypeError(f'tuner {cls.__name__}: unknown argument '
                        f'{", ".join(unknown)}; it takes '
                        f'{", ".join(accepted) or "none"}')
    return cls(**kwargs)


def known_tuners() -> Tuple[str, ...]:
    """Names of all registered tuners, sorted."""
    TUNERS.import_from_location()
    return tuple(sorted(TUNERS.module_dict))


def tuner_class(kind) -> type:
    """The class of a tuner's ``type``.

    Raises:
        KeyError: If it is unknown; the message lists the known ones.
    """
    if inspect.isclass(kind):
        return kind
    names = known_tuners()
    cls = TUNERS.module_dict.get(kind.removeprefix('mona_mm.'))
    if cls is None and '.' in kind:  # as a pure Python config is dumped
        cls = get_object_from_string(kind)
    if cls is None:
        raise KeyError(f'tuner: unknown type {kind!r}; expected one of '
                       f'{", ".join(names)}')
    return cls


def check_positive_int(owner: str, name: str, value) -> None:
    """Raise ValueError unless ``value`` is an integer of at least 1."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f'{owner}: {name} must be an integer of at least 1, '
                         f'but got {value!r}')


def check_rate(owner: str, name: str, value) -> None:
    """Raise ValueError unless ``value`` is a rate in [0, 1)."""
    if not isinstance(value, (int, float)) or not 0 <= value < 1:
        raise ValueError(f'{owner}: {name} must be a number in [0, 1), but '
                         f'got {value!r}')
