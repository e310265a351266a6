"""What a tuning method says, and the places it may speak of.

The sites of a transformer block (everything in brackets is a site)::

    x -+- norm1 - attn -[attn_out]- drop_path - (+) -[after_attn]- h
       +------------------------------------------+

    h -+- norm2 - ffn -[ffn_out]- drop_path - (+) -[after_ffn]- y
       +--------------[beside_ffn]-------------+
       +---------------------------------------+

    qkv: the linear layer inside attn

A module at a site maps ``(x: (B, N, C), hw_shape: (H, W)) -> (B, N, C)``.
What ``beside_ffn`` returns is added to the sum, what the others return
replaces their input; ``qkv`` takes a linear layer and returns one.

What a module may offer on top:

- ``line_by_line = False``: it has a fast, exact form beside the plain one;
  the backbone's switch of that name sets the attribute.
- ``takes_norm = True`` (``after_attn``, ``after_ffn``): it accepts
  ``next_norm``, a frozen layer norm that follows, and then returns a tuple of
  its output and the norm of it; so it need not keep its output.
- :class:`mona_mm.ops.fold.Foldable`: it has a folded form for inference.
"""
import inspect
from colorsys import hls_to_rgb
from typing import Dict, Optional, Tuple
from zlib import crc32

from mmengine.utils import get_object_from_string
from torch import nn

from mona_mm.registry import TUNERS

SITES = ('attn_out', 'after_attn', 'ffn_out', 'after_ffn', 'beside_ffn',
         'qkv')


class Tuner:
    """One delta-tuning method: what it inserts where, and what else trains.

    A tuner knows no backbone. The backbone calls :meth:`build` once for every
    block and every site in :attr:`sites`, and :meth:`trains` once for every
    pretrained parameter.
    """

    #: The sites at which the method inserts something, out of ``SITES``.
    sites: Tuple[str, ...] = ()

    #: How the paper's release calls the modules at our sites (parameter
    #: names below them are the same): {released path: our path}.
    released_names: Dict[str, str] = {}

    #: Arguments that act in training alone, or only on speed: a checkpoint
    #: may be loaded whatever they were.
    free: Tuple[str, ...] = ('drop_rate', )

    #: What tables and pictures call it; by default as the class is called.
    display_name: str = ''

    #: Of its lines in pictures, ``'#rrggbb'``; by default one of its own,
    #: made of its name.
    colour: str = ''

    def __init_subclass__(cls, **kwargs) -> None:
        super().__init_subclass__(**kwargs)
        own = vars(cls)
        cls.display_name = own.get('display_name', cls.__name__)
        hue = crc32(cls.__name__.encode()) / 2**32
        cls.colour = own.get('colour', '#' + ''.join(
            f'{round(255 * c):02x}' for c in hls_to_rgb(hue, .4, .6)))

    def build(self, site: str, dims: int) -> Optional[nn.Module]:
        """Make the module for one site of one block.

        Args:
            site (str): One of :attr:`sites`, except ``'qkv'``.
            dims (int): C, the width of the block.

        Returns:
            nn.Module, optional: Maps ``(x: (B, N, C), (H, W))`` to
            (B, N, C). ``None`` leaves the site as it is.
        """
        raise NotImplementedError(
            f'{type(self).__name__} names the site {site!r} in `sites` but '
            'does not build it')

    def adapt_qkv(self, linear: nn.Linear) -> nn.Linear:
        """Return the linear layer (C -> 3C) that stands in for ``linear``.

        It keeps the parameter names ``weight`` and ``bias``.
        """
        return linear

    def trains(self, name: str, param: nn.Parameter,
               from_end: Optional[int]) -> bool:
        """Whether a pretrained parameter of the backbone trains.

        Args:
            name (str): Its name within the backbone.
            param (nn.Parameter): The parameter.
            from_end (int, optional): Its block, counted back from the last
                one (0); ``None`` outside the blocks.
        """
        return False


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
    _check_arguments(cls, kwargs)
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


def _check_arguments(cls: type, kwargs: dict) -> None:
    accepted = list(inspect.signature(cls).parameters)
    unknown = sorted(set(kwargs) - set(accepted))
    if unknown:
        raise TypeError(f'tuner {cls.__name__}: unknown argument '
                        f'{", ".join(unknown)}; it takes '
                        f'{", ".join(accepted) or "none"}')


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
