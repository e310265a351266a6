"""From the command line's words to a config that a Runner can run."""
import argparse
import copy
import os
import os.path as osp
import re
from itertools import accumulate
from typing import Any, Callable, Optional, Sequence

from mmengine.config import Config, ConfigDict
from mmengine.hooks import CheckpointHook
from mmengine.logging import print_log
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.runner import EpochBasedTrainLoop, Runner

from mona_mm.backbones import require_tuned
from mona_mm.checkpoint.candidates import allow_hosts
from mona_mm.checkpoint.io import trust
from mona_mm.config import (
    backbone_of,
    means,
    name_of,
    read_config,
    tuner_fragments,
)
from mona_mm.engine.cluster import set_address
from mona_mm.errors import ConfigError, UserError
from mona_mm.text import FULL, cannot_write

from .device import adapt_to_cpu, init_cpu_group
from .options import OptionAction, parse
from .resumable.newest import newest_checkpoint, trust_run
from .runner import careful_runner

#: Variables of a config that it copies, and where to.
_COPIED = dict(tuner='model.backbone', vis_backends='visualizer')


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that training and testing share."""
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--work-dir',
        help='where logs and checkpoints go (default: the config\'s '
        '`work_dir`, else work_dirs/<name of the config>, with _<tuner> at '
        'its end if --tuner is given)')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        type=key_value,
        action=OptionAction,
        default={},
        metavar='KEY=VALUE',
        help='change settings of the config, e.g. '
        'model.backbone.tuner.bottleneck_dims=32 "KEY=[a,b]" '
        '"KEY=(\'hot dog\', cup)"; spaces within a value are kept')
    parser.add_argument(
        '--tuner',
        help='tuning method in place of the config\'s: a name in '
        'configs/_base_/tuners or a file')
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='how the processes were started')
    parser.add_argument(
        '--trust-checkpoint',
        action='store_true',
        help='read the checkpoint that is named (also by --resume or '
        'load_from) even if it holds more than tensors and plain data; it can '
        'run any code. Other files, its base for one, are read as ever')
    parser.add_argument(
        '--base-host',
        action='append',
        default=[],
        metavar='HOST',
        help='fetch the frozen base from this host too if a checkpoint says '
        'that it is there')
    parser.add_argument(
        '--local_rank', '--local-rank', type=int, default=0,
        help=argparse.SUPPRESS)


def key_value(word: str) -> str:
    """The type of the words of ``--cfg-options``.

    Raises:
        argparse.ArgumentTypeError: If it is no KEY=VALUE, or its quotes or
            brackets are not closed.
    """
    # Nobody means hundreds of brackets in brackets.
    depth = accumulate((c in '[(') - (c in '])') for c in word)
    try:
        if not re.match(r'[^\s=]+=', word) or max(depth) > 20:
            raise ValueError
        parse(word.partition('=')[2])
    except ValueError:
        raise argparse.ArgumentTypeError(
            f'expected KEY=VALUE, such as model.backbone.tuner.rank=32 or '
            f"train_cfg.val_interval=2, but got {word!r:.100}") from None
    return word


def load_config(args: argparse.Namespace) -> Config:
    """Read the config that the arguments name, and apply them.

    Raises:
        ConfigError: If the file does not exist or cannot be parsed, an
            option would have no effect, or the launcher did not start this.
    """
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    set_address(args.launcher)
    allow_hosts(getattr(args, 'base_host', ()))
    cfg = read_config(args.config)
    for key in args.cfg_options:
        variable = key.split('.')[0]
        if owner := _COPIED.get(variable):
            raise ConfigError(
                f'--cfg-options {key}=... would change nothing: configs copy '
                f'`{variable}` into `{owner}`; use {owner}.{key}=...')
    if args.tuner:
        set_tuner(cfg, args.tuner)
    try:
        cfg.merge_from_dict(args.cfg_options)
    except (KeyError, TypeError, IndexError, AttributeError,
            ValueError) as error:
        raise ConfigError(
            f'--cfg-options {args.cfg_options} do not fit {args.config}: '
            f'{type(error).__name__}: {error}') from error
    tuner = backbone_of(cfg).get('tuner')
    if 'tuner' in cfg and tuner is not None:
        # The variable that the backbone's tuner was copied from: what is
        # dumped beside the checkpoints must not say two things.
        cfg.tuner = copy.deepcopy(tuner)
    cfg.launcher = args.launcher
    name = osp.splitext(osp.basename(args.config))[0]
    if args.tuner:
        name += f'_{osp.splitext(osp.basename(args.tuner))[0]}'
    cfg.work_dir = args.work_dir or cfg.get('work_dir') or osp.join(
        'work_dirs', name)
    if getattr(args, 'trust_checkpoint', False):
        # The checkpoint that a run starts from, and no other file.
        resume = getattr(args, 'resume', None)
        for named in (getattr(args, 'checkpoint', None), resume,
                      cfg.get('load_from')):
            if named not in (None, 'auto'):
                trust(named)
        if resume == 'auto' or cfg.get('resume'):
            trust_run(cfg)
    return cfg


def set_tuner(cfg: Config, tuner: str) -> None:
    """Replace the tuner of a config's backbone.

    Args:
        cfg (Config): Changed in place.
        tuner (str): Name of a fragment in ``configs/_base_/tuners``, or the
            path of a file that defines ``tuner``.

    Raises:
        ConfigError: If there is no such fragment, or the config's backbone
            takes no tuner.
    """
    known = tuner_fragments()
    path = tuner if tuner.endswith('.py') else known.get(tuner, '')
    if not osp.isfile(path):
        raise ConfigError(f'--tuner {tuner!r}: expected a .py file that '
                          f'defines `tuner`, or one of {", ".join(known)}')
    fragment = Config.fromfile(path).get('tuner')
    if not isinstance(fragment, dict):
        raise ConfigError(f'--tuner {tuner!r}: {path} defines no dict '
                          '`tuner`')
    backbone, cls = backbone_of(cfg), require_tuned(cfg, f'--tuner {tuner}')
    if cls.general:  # called after a method
        backbone.type = cls.general
    backbone.tuner = ConfigDict(fragment)
    # What --cfg-options change in it from here on is a change.
    cfg.tuner_option = ConfigDict(
        name=osp.splitext(osp.basename(tuner))[0], type=backbone.type,
        tuner=copy.deepcopy(fragment))
    print_log(
        f'--tuner: {name_of(fragment["type"])}; learning rate, drop-path and '
        f'everything else stay those of {cfg.filename}',
        logger='current')


def set_amp(cfg: Config) -> None:
    """Turn mixed precision on.

    Raises:
        ConfigError: If the optimizer wrapper is of a kind that cannot.
    """
    kind = cfg.optim_wrapper.get('type', 'OptimWrapper')
    if means(kind, AmpOptimWrapper):
        return
    if not means(kind, OptimWrapper):
        raise ConfigError('--amp needs optim_wrapper.type OptimWrapper or '
                          f'AmpOptimWrapper, but the config has '
                          f'{name_of(kind)!r}')
    cfg.optim_wrapper.type = 'AmpOptimWrapper'
    cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')


def set_auto_scale_lr(cfg: Config) -> None:
    """Scale the learning rate with the total batch size.

    Raises:
        ConfigError: If the config does not say for which batch size its
            learning rate is meant.
    """
    if 'base_batch_size' not in (cfg.get('auto_scale_lr') or {}):
        raise ConfigError('--auto-scale-lr needs auto_scale_lr=dict('
                          'base_batch_size=...) in the config')
    cfg.auto_scale_lr.enable = True


def set_resume(cfg: Config, resume: Optional[str],
               new_schedule: bool = False) -> None:
    """Resume from a checkpoint (``'auto'``: the newest in the work dir).

    With nothing there to resume, the run starts as the config says.

    Args:
        cfg (Config): Changed in place, after :func:`set_resumable`.
        resume (str, optional): A path, or ``'auto'``.
        new_schedule (bool): Follow the config's schedule, not the
            checkpoint's. Defaults to False.

    Raises:
        CheckpointError: If there are checkpoints, but none that is usable.
        ConfigError: If there is a new schedule and nothing is resumed.
    """
    if resume is None:
        if new_schedule:
            raise ConfigError('--new-schedule is for a run that goes on: it '
                              'needs --resume')
        return
    found = newest_checkpoint(cfg) if resume == 'auto' else resume
    cfg.resume = found is not None
    if found is not None:
        cfg.load_from = found
        cfg.default_hooks['schedule'] = dict(
            type='mona_mm.ScheduleHook', renew=new_schedule)


def set_resumable(cfg: Config) -> None:
    """Replace mmengine's checkpoint hook and epoch loop by ours.

    They do the same, safe against kills and able to go on within an epoch.
    Other hooks and loops are left alone.

    Args:
        cfg (Config): Changed in place.
    """
    if not cfg.get('default_hooks'):
        cfg.default_hooks = dict()
    if 'checkpoint' not in cfg.default_hooks:  # mmengine puts its own in
        cfg.default_hooks.checkpoint = dict(type=CheckpointHook, interval=1)
    hook = cfg.default_hooks.checkpoint  # None switches it off
    if hook and means(hook.get('type'), CheckpointHook):
        hook['type'] = 'mona_mm.AtomicCheckpointHook'
    loop = cfg.get('train_cfg') or {}
    if means(loop.get('type'), EpochBasedTrainLoop) or (
            'type' not in loop and loop.get('by_epoch')):
        loop.pop('by_epoch', None)
        loop['type'] = 'mona_mm.ResumableEpochLoop'


def add_hook(cfg: Config, **hook) -> None:
    """Append a hook's config to ``custom_hooks``."""
    cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), hook]


def run(cfg: Config, job: Callable[[Runner], Any],
        warnings: Sequence[str] = ()) -> Any:
    """Build the config's Runner, on whatever device is there, and use it.

    Args:
        cfg (Config): The config, with ``launcher`` and ``work_dir`` set.
        job (Callable): What to do with the Runner.
        warnings (Sequence[str]): Lines for the log, before that is done.

    Raises:
        UserError: If the disk is full; much of what a run writes is written
            by mmengine, whose errors name no file.
    """
    notes = adapt_to_cpu(cfg)
    init_cpu_group(cfg.launcher)
    try:
        runner = careful_runner(cfg)
        for note in notes:
            runner.logger.info(note)
        for warning in warnings:
            runner.logger.warning(warning)
        return job(runner)
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise UserError(
            cannot_write(error.filename or cfg.work_dir, error) +
            '; what was saved before is whole: go on with --resume'
        ) from error
