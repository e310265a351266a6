"""A model that is shared out over processes: FSDP2, block by block.

Data-parallel training keeps the whole model in every process. What is frozen
needs no gradients and no optimizer state, so that of a large base and a
small tuner nearly all of that is the base. Here every process keeps a part of
each tensor; a block is gathered before it runs, forward and backward, and
let go after it (Zhao et al., PyTorch FSDP, arXiv 2304.11277; this is the
form of ``torch.distributed.fsdp.fully_shard``, which takes frozen parameters
beside trained ones). The results are those of data-parallel training.

mmengine's FSDP is the older form, through FlexibleRunner: it refuses frozen
parameters, or fails when the optimizer's state is saved.
"""
from contextlib import ExitStack, contextmanager
from typing import Any, Dict, Iterator, List, Optional, Sequence, Set

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import get_world_size, is_main_process
from mmengine.hooks import EMAHook
from mmengine.model import (
    MMFullyShardedDataParallel,
    convert_sync_batchnorm,
)
from mmengine.optim import AmpOptimWrapper
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from mmengine.utils import apply_to
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer

from mona_mm.backbones import tuned_class, tuned_types
from mona_mm.checkpoint.digest import whole
from mona_mm.checkpoint.models import tuned_backbones
from mona_mm.config import backbone_of, class_of, means, name_of
from mona_mm.errors import CheckpointError, ConfigError

from .delta_checkpoint import DeltaCheckpointHook
from .optim import wrappers_of

#: What ``--shard`` may be given.
DTYPES = ('float32', 'bfloat16')


def set_shard(cfg: Config, dtype: str) -> None:
    """Share the model of a config out over the processes of its training.

    With ``'bfloat16'`` the frozen linear layers are stored and gathered in
    it, and the backbone computes under autocast; norms, tables, what trains,
    neck and head, and the sums of gradients stay float32.

    Args:
        cfg (Config): Changed in place.
        dtype (str): One of :data:`DTYPES`.

    Raises:
        ConfigError: If it is none of these, or something in the config does
            not go with it.
    """
    if dtype not in DTYPES:
        raise ConfigError(f'--shard {dtype!r}: expected one of '
                          f'{", ".join(DTYPES)}')
    if problems := list(_objections(cfg, dtype)):
        raise ConfigError('--shard cannot be used:\n- ' +
                          '\n- '.join(problems))
    cfg.shard = dict()
    if dtype == 'bfloat16':
        cfg.shard.dtype = dtype
        backbone_of(cfg).base_dtype = dtype
        if means(cfg.optim_wrapper.get('type'), AmpOptimWrapper):
            # Autocast comes with it, and bfloat16 needs no scaled loss.
            cfg.optim_wrapper.type = 'OptimWrapper'
            for key in ('loss_scale', 'dtype', 'use_fsdp'):
                cfg.optim_wrapper.pop(key, None)


def _objections(cfg: Config, dtype: str) -> Iterator[str]:
    if cfg.get('launcher', 'none') == 'none':
        yield ('it is for several processes, and there is one: use '
               'tools/dist_train.sh or tools/slurm_train.sh')
    scope = cfg.get('default_scope')
    backbone = backbone_of(cfg)
    if tuned_class(backbone, scope) is None:
        yield (f'it is shared out by the blocks of a tuned backbone, and '
               f'{name_of(backbone.get("type"))!r} is none of '
               f'{tuned_types()}')
    if 'runner_type' in cfg and not means(cfg.runner_type, Runner):
        yield (f'runner_type is {name_of(cfg.runner_type)!r}, which wraps '
               "models itself: leave it out (mmengine's Runner)")
    if (cfg.get('model_wrapper_cfg') or {}).get('type') is not None:
        yield ('model_wrapper_cfg names another wrapper, '
               f'{name_of(cfg.model_wrapper_cfg["type"])!r}: leave it out')
    if cfg.get('find_unused_parameters'):
        yield ('find_unused_parameters is set: gradients are summed by '
               'block, so that all processes have to reach the same '
               'parameters; train without --shard')
    if cfg.get('compile'):
        yield 'compile is set, which was not tried with it: leave it out'
    wrapper = cfg.get('optim_wrapper') or {}
    if dtype == 'float32' and means(wrapper.get('type'), AmpOptimWrapper):
        yield ('the config (or --amp) asks for mixed precision: that is '
               '--shard bfloat16')
    if dtype == 'bfloat16' and wrapper.get('dtype') == 'float16':
        yield ('optim_wrapper.dtype is float16, which needs a scaled loss: '
               'leave it out, or train without --shard')
    for hook in cfg.get('custom_hooks') or []:
        cls = class_of(hook.get('type'), HOOKS, scope)
        if isinstance(cls, type) and issubclass(cls, EMAHook):
            yield (f'{name_of(hook["type"])} averages a copy of the model, '
                   'and one that is shared out cannot be copied: leave it '
                   'out, or train without --shard')


def uses_old_form(cfg: Config) -> bool:
    """Whether a config asks for mmengine's FSDP, of the older form."""
    strategy = cfg.get('strategy')
    kind = strategy.get('type') if isinstance(strategy, dict) else strategy
    return name_of(kind) == 'FSDPStrategy' or means(
        (cfg.get('model_wrapper_cfg') or {}).get('type'),
        MMFullyShardedDataParallel)


class ShardedRunner:
    """Mixin of a Runner: the model is shared out once it is loaded.

    Before that it is whole and on the CPU, so a base is loaded, checked and
    refused as ever, and need not fit a GPU. Checkpoints are gathered, and are
    those of any other training.
    """

    def wrap_model(self, model_wrapper_cfg: Optional[dict],
                   model: nn.Module) -> nn.Module:
        """Leave the model as it is for now."""
        if kind := self.cfg.get('sync_bn'):
            model = convert_sync_batchnorm(model, kind)
        return model

    def load_or_resume(self) -> None:
        """Load as ever; then share out the model and the optimizer's state.
        """
        super().load_or_resume()
        if isinstance(self.model, FSDPModule):
            return
        moved = shard(self.model, get_device(), self.cfg.shard.get('dtype'))
        for optimizer in self._optimizers():
            _move(optimizer, moved)
        #: Those of the model's parameters that are numbers in checkpoints.
        self._numbers = [new for old, new in moved.items() if not old.ndim]
        own, total = (sum(p.nbytes for p in params) / 2**20 for params in (
            [new.to_local() for new in moved.values()], moved))
        self.logger.info(
            f'the model is shared out over {get_world_size()} processes: '
            f'{own:,.1f} MiB of {total:,.1f} MiB of parameters here')

    def load_checkpoint(self, filename: str, *args, **kwargs) -> dict:
        """Load, while the model is whole.

        Raises:
            CheckpointError: If it is shared out already.
        """
        if isinstance(self.model, FSDPModule):
            raise CheckpointError(
                f'{filename} cannot be loaded into a model that is shared '
                'out: name it in load_from, before training')
        return super().load_checkpoint(filename, *args, **kwargs)

    def save_checkpoint(self, *args, **kwargs) -> None:
        """Gather what is saved, in all processes; the first one saves it."""
        with ExitStack() as gathered:
            gathered.enter_context(_whole_model(
                self.model, self._left_out(), self._numbers))
            if kwargs.get('save_optimizer', True):
                for optimizer in self._optimizers():
                    gathered.enter_context(
                        _whole_optimizer(optimizer, self._numbers))
            super().save_checkpoint(*args, **kwargs)

    def _optimizers(self) -> List[Optimizer]:
        return [wrapper.optimizer for wrapper in wrappers_of(self)
                if hasattr(wrapper, 'optimizer')]

    def _left_out(self) -> Set[str]:
        """Names of the frozen tensors that no checkpoint will hold."""
        for module in self.model.modules():
            if isinstance(module, FSDPModule):
                module.reshard()  # or names are those of gathered copies
        slim = any(isinstance(hook, DeltaCheckpointHook)
                   and not hook.full_checkpoint for hook in self.hooks)
        return {f'{path}.{name}' if path else name
                for path, backbone in tuned_backbones(self.model)
                for name in backbone.frozen.refillable()} if slim else set()


def shard(model: nn.Module, device: str, dtype: Optional[str] = None
          ) -> Dict[nn.Parameter, DTensor]:
    """Share a model out over all processes, in place.

    Every block of a tuned backbone is gathered by itself, all else with the
    model. Parameters that are single numbers become vectors of one, because
    there is no part of a number.

    Args:
        model (nn.Module): With its weights loaded.
        device (str): ``'cuda'``, ``'cpu'`` ...
        dtype (str, optional): ``'bfloat16'``: the tuned backbones compute
            under autocast to it, and give float32.

    Returns:
        dict[Parameter, DTensor]: What has become of every parameter.

    Raises:
        RuntimeError: If a frozen base was never loaded.
    """
    before = dict(model.named_parameters())
    mesh = init_device_mesh(device, (get_world_size(), ))
    backbones = [backbone for _, backbone in tuned_backbones(model)]
    with ExitStack() as moving:
        for backbone in backbones:
            backbone.frozen.require()
            moving.enter_context(backbone.frozen.moving())
        _numbers_as_vectors(model)
        for backbone in backbones:
            shared = set(backbone.tuner.shared())
            for slot in backbone.block_slots():
                block = slot.container[slot.index]
                if shared.isdisjoint(block.modules()):
                    block.alone = True
                    fully_shard(block, mesh=mesh)
            if dtype:
                backbone.forward = _under_autocast(
                    backbone.forward, device, getattr(torch, dtype))
        fully_shard(model, mesh=mesh)
    return {before[name]: new for name, new in model.named_parameters()}


def _numbers_as_vectors(model: nn.Module) -> None:
    made: Dict[nn.Parameter, nn.Parameter] = {}
    for module in model.modules():
        for name, param in list(module.named_parameters(recurse=False)):
            if not param.ndim:
                if param not in made:
                    made[param] = nn.Parameter(
                        param.detach().view(1), param.requires_grad)
                setattr(module, name, made[param])


def _under_autocast(forward, device: str, dtype: torch.dtype):
    inside = torch.autocast(device, dtype=dtype)(forward)

    def run(*args, **kwargs):
        return apply_to(inside(*args, **kwargs),
                        lambda x: getattr(x, 'dtype', None) == dtype,
                        lambda x: x.float())

    return run


def _move(optimizer: Optimizer, moved: Dict[nn.Parameter, DTensor]) -> None:
    """Let an optimizer, with its state, go on with other parameters."""
    for group in optimizer.param_groups:
        group['params'] = [moved[p] for p in group['params']]
    for old in list(optimizer.state):
        new, state = moved[old], optimizer.state.pop(old)
        optimizer.state[new] = {
            key: _like(key, value, old, new) for key, value in state.items()}


def _like(key: str, value: Any, old: nn.Parameter, new: DTensor) -> Any:
    """A value of an optimizer's state; shared out as its parameter is."""
    if not isinstance(value, Tensor):
        return value
    if key == 'step' or value.shape != old.shape:
        return value.to(new.device) if value.device == old.device else value
    return distribute_tensor(value.view(new.shape), new.device_mesh,
                             new.placements)


def _gathered(tensor: DTensor, number: bool) -> Optional[Tensor]:
    """The whole of a tensor, on the CPU of the first process."""
    full = whole(tensor)
    if not is_main_process():
        return None
    return full.view(()).cpu() if number else full.cpu()


@contextmanager
def _whole_model(model: nn.Module, left_out: Set[str],
                 numbers: Sequence[DTensor]) -> Iterator[None]:
    """Within it ``state_dict`` gives whole tensors, in the first process.

    Args:
        model (nn.Module): Shared out.
        left_out (set[str]): What is not gathered, and left out.
        numbers (Sequence[DTensor]): Parameters that are saved as numbers.
    """
    ids = {id(p) for p in numbers}
    kept = {name: _gathered(param, id(param) in ids)
            for name, param in model.named_parameters(remove_duplicate=False)
            if name not in left_out}

    def replace(module, state, prefix, metadata) -> None:
        for name in [n for n, v in state.items() if isinstance(v, DTensor)]:
            if name in left_out:
                del state[name]
            else:
                state[name] = kept[name]

    handle = model.register_state_dict_post_hook(replace)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _whole_optimizer(optimizer: Optimizer,
                     numbers: Sequence[DTensor]) -> Iterator[None]:
    """The same of an optimizer, which calls parameters by their number."""
    ids = {id(p) for p in numbers}
    params = [p for group in optimizer.param_groups for p in group['params']]
    kept = {(i, key): _gathered(value, id(param) in ids)
            for i, param in enumerate(params)
            for key, value in optimizer.state.get(param, {}).items()
            if isinstance(value, DTensor)}

    def replace(optimizer, content) -> dict:
        states = {i: {key: kept.get((i, key), value)
                      for key, value in state.items()}
                  for i, state in content['state'].items()}
        return dict(content, state=states)

    handle = optimizer.register_state_dict_post_hook(replace)
    try:
        yield
    finally:
        handle.remove()
