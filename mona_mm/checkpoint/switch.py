"""Several deltas on one frozen base, in one process."""
from copy import copy
from typing import Container, Dict, Optional, Tuple

import torch
from torch import Tensor, nn

from mona_mm.errors import CheckpointError, ConfigError
from mona_mm.tuners import EXTRAS, LINEARS, Tuner

from .compare import compare
from .digest import state_digest
from .files import whole_state
from .io import read_checkpoint
from .layouts import below
from .models import tuned_backbones
from .record import records


class DeltaSwitch:
    """Change the delta of a model in place, in milliseconds.

    A delta is a few megabytes; the base, which is the rest, stays. All
    deltas must be of the backbone's own tuner, with the same arguments, and
    trained on the base that is in place::

        switch = DeltaSwitch(detector.backbone)
        switch.load('boxes', 'retinanet.pth')
        switch.load('regions', 'upernet.pth')
        segmentor.backbone = detector.backbone  # one base in memory
        switch.use('regions')  # segmentor now
        switch.use('boxes')  # detector again
        switch.use(None)  # the pretrained backbone alone

    Given a whole model it switches neck and head as well.

    Args:
        model (nn.Module): A tuned backbone, or a model with one.

    Raises:
        ConfigError: If there is no tuned backbone in it, or several, or its
            tuner cannot be switched off.
        CheckpointError: If the base in place has no known source.
    """

    def __init__(self, model: nn.Module) -> None:
        found = dict(tuned_backbones(model))
        if len(set(map(id, found.values()))) != 1:
            raise ConfigError('DeltaSwitch needs a model with one tuned '
                              f'backbone, but {type(model).__name__} has '
                              f'{len(found)}')
        self.model = model
        (path, self.backbone), *_ = found.items()
        self.prefix = f'{path}.' if path else ''
        tuner: Tuner = self.backbone.tuner
        if not self.backbone.frozen.names:
            raise ConfigError(f'{type(tuner).__name__} freezes nothing: there'
                              ' is no base that deltas could share')
        if place := _still_changes(tuner):
            raise ConfigError(
                f'{type(tuner).__name__} cannot be switched off: with its '
                'parameters zero, or as its modules say, what it inserts at '
                f'{place!r} still changes its input')
        self._deltas: Dict[Optional[str], Dict[str, Tensor]] = {
            None: self._off()
        }

    @property
    def names(self) -> Tuple[str, ...]:
        """What :meth:`use` takes, besides None."""
        return tuple(n for n in self._deltas if n is not None)

    def load(self, name: str, checkpoint: str) -> None:
        """Read a delta and keep it for :meth:`use`.

        Args:
            name (str): How to call it; a name that is there is replaced.
            checkpoint (str): A delta checkpoint's path or URL.

        Raises:
            CheckpointError: If it is of another tuner, backbone or base, or
                does not hold all of what trained.
        """
        if not isinstance(name, str):
            raise ConfigError('DeltaSwitch.load: the name must be a text, '
                              f'but got {name!r}')
        state = whole_state(read_checkpoint(checkpoint), checkpoint)
        try:
            self._deltas[name] = self._fitting(state)
        except CheckpointError as error:
            raise CheckpointError(f'{checkpoint}: {error}') from error

    def use(self, name: Optional[str]) -> None:
        """Put a delta in place, or none.

        Args:
            name (str, optional): One that was loaded. ``None``: the
                pretrained backbone alone; neck and head stay.

        Raises:
            ConfigError: If nothing of this name was loaded.
        """
        if name not in self._deltas:
            raise ConfigError(f'no delta {name!r} was loaded; there are '
                              f'{", ".join(self.names) or "none"}')
        own = self._switched()
        with torch.no_grad():
            for key, value in self._deltas[name].items():
                own[key].copy_(value)
        for module in self.model.modules():
            if getattr(module, 'folded', None) is not None:
                module.fold()  # it was made of the weights before

    def _switched(self) -> Dict[str, Tensor]:
        """All tensors but the frozen base and computed buffers."""
        base = self.backbone.frozen
        fixed = {self.prefix + n for n in base.names | base.computed}
        return {
            k: v
            for k, v in self.model.state_dict().items() if k not in fixed
        }

    def _fitting(self, state: Dict[str, Tensor]) -> Dict[str, Tensor]:
        """The tensors of a delta, if they are for this model and base."""
        found = records(state)
        if len(found) != 1:
            raise CheckpointError(
                f'expected a delta of one tuned backbone, but it records '
                f'{len(found)}; extract_delta makes one of a full checkpoint')
        (path, record), = found.items()
        base, lead = self.backbone.frozen, f'{path}.' if path else ''
        base.check(record)
        inside = below(state, lead)
        if state_digest(inside) not in record.stored:
            raise CheckpointError('the backbone\'s tensors are not the ones '
                                  'that were saved: the file is damaged')
        if record.base is None:
            raise CheckpointError('it holds its base itself: make a delta of '
                                  'it with tools/extract_delta.py')
        if not base.has(record.base):
            raise CheckpointError(
                f'it was trained on another base ({record.base.source}, '
                f'sha256 {record.base.sha256[:12]}) than the one in place')
        given = {self.prefix + k: v for k, v in inside.items()}
        if self.prefix:
            given.update({k: v for k, v in state.items()
                          if not k.startswith(lead)})
        own = self._switched()
        if misfit := compare(own, given):
            raise CheckpointError(
                f'it does not fit: {misfit}; to switch the backbone alone, '
                'give DeltaSwitch the backbone')
        return {k: given[k].clone() for k in own}

    def _off(self) -> Dict[str, Tensor]:
        """Inserted modules that do nothing, and the base's own values."""
        backbone = self.backbone
        if backbone.base is None:
            raise CheckpointError(
                'DeltaSwitch needs a base whose source is known: load a delta'
                ' checkpoint first, or the base that init_cfg names')
        trained = set(backbone.base_parameters()) - backbone.frozen.names
        plain = backbone.frozen.find(backbone.base) if trained else {}
        found = {
            self.prefix + n: plain[n] if n in trained else torch.zeros_like(v)
            for n, v in backbone.state_dict().items()
            if n in backbone.delta_names or n in trained
        }
        with torch.no_grad():
            for path, module in backbone.named_modules():
                if hasattr(module, 'neutral'):
                    found.update((f'{self.prefix}{path}.{n}', v)
                                 for n, v in module.neutral().items())
        return found


@torch.no_grad()
def _still_changes(tuner: Tuner, dims: int = 16) -> Optional[str]:
    """Where a tuner changes its input though it is switched off."""
    tuner = copy(tuner)
    tuner.start(tuner.facts)  # apart from the backbone
    x = torch.linspace(-1, 1, 4 * dims).reshape(1, 4, dims)
    replaced = []
    for site in tuner.sites:
        if site in EXTRAS:  # tokens are attended to, maps are others
            return site
        if site in LINEARS:
            replaced.append((site, nn.Linear(dims, 3 * dims), tuner.adapt, x))
            continue
        expected = torch.zeros_like(x) if site.startswith('beside') else x
        module = _neutral(tuner.build(site, dims))
        if not torch.equal(module(x, (2, 2)), expected):
            return site
    if type(tuner).wrap is not Tuner.wrap:
        replaced += [
            ('norm', nn.LayerNorm(dims), tuner.wrap, x),
            ('reduction', nn.Linear(dims, dims, False), tuner.wrap, x),
            ('projection', nn.Conv2d(dims, dims, 2), tuner.wrap,
             x.view(1, dims, 2, 2))]
    for place, plain, make, x in replaced:
        expected, kept = plain(x), dict(plain.named_parameters())
        if not torch.equal(_neutral(make(place, plain), kept)(x), expected):
            return place
    return None


def _neutral(module: nn.Module, kept: Container[str] = ()) -> nn.Module:
    """A module whose own parameters are such that it does nothing."""
    for name, param in module.named_parameters():
        if name not in kept:
            param.zero_()
    for part in module.modules():
        for name, value in getattr(part, 'neutral', dict)().items():
            part.get_parameter(name).copy_(value)
    return module.eval()
