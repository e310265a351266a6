"""What ``tools/test.py`` adds to a config before testing."""
import os.path as osp
from typing import Set

from mmengine.config import Config, ConfigDict
from torch import nn

from mona_mm.checkpoint import read_checkpoint, unwrap
from mona_mm.checkpoint.delta import tuned_backbones
from mona_mm.checkpoint.record import records
from mona_mm.errors import CheckpointError, ConfigError
from mona_mm.text import some


def set_tta(cfg: Config) -> None:
    """Test with the config's test-time augmentation.

    Raises:
        ConfigError: If the config has none.
    """
    missing = [k for k in ('tta_model', 'tta_pipeline') if k not in cfg]
    if missing:
        raise ConfigError('--tta needs test-time augmentation in the config, '
                          f'but it has no {" and no ".join(missing)}')
    dataset = cfg.test_dataloader.dataset
    while 'dataset' in dataset:
        dataset = dataset.dataset
    dataset.pipeline = cfg.tta_pipeline
    cfg.model = ConfigDict(**cfg.tta_model, module=cfg.model)


def set_out(cfg: Config, out: str) -> None:
    """Write the predictions: to a .pkl file, or formatted to a folder (seg).

    Raises:
        ConfigError: If ``out`` is neither.
    """
    if out.endswith(('.pkl', '.pickle')):
        detector = cfg.get('default_scope') in ('mmdet', 'mmrotate')
        kind = 'mmdet.DumpDetResults' if detector else 'DumpResults'
        evaluators = cfg.test_evaluator
        if not isinstance(evaluators, (list, tuple)):
            evaluators = [evaluators]
        cfg.test_evaluator = [
            *evaluators, dict(type=kind, out_file_path=out)
        ]
    elif cfg.get('default_scope') == 'mmseg':
        cfg.test_evaluator['output_dir'] = out
        cfg.test_evaluator['keep_results'] = True
    else:
        raise ConfigError(f'--out {out!r}: expected a file that ends with '
                          '.pkl or .pickle')


def set_show(cfg: Config, show: bool, show_dir: str = None) -> None:
    """Show predictions in a window, or write them as pictures to a folder.

    Raises:
        ConfigError: If the config has no visualization hook.
    """
    hook = cfg.default_hooks.get('visualization')
    if hook is None:
        raise ConfigError('--show and --show-dir need default_hooks.'
                          'visualization in the config')
    hook['enable' if cfg.get('default_scope') == 'mmpretrain' else
         'draw'] = True
    hook['show'] = show
    hook['interval'] = 1
    if show_dir is None:
        return
    if cfg.get('default_scope') == 'mmseg':
        cfg.visualizer['save_dir'] = show_dir
    elif cfg.get('default_scope') == 'mmpretrain':
        hook['out_dir'] = show_dir
    else:  # mmdet puts its folder below the work dir's time stamp
        hook['test_out_dir'] = osp.abspath(show_dir)


def check_for_test(runner, path: str) -> None:
    """Check that a checkpoint fits the model, all of it.

    Loading is left to the Runner, whose hooks (EMA) expect it in their time.

    Raises:
        CheckpointError: If a tensor is missing, unexpected, or of another
            shape: the numbers would not be the checkpoint's.
    """
    model = getattr(runner.model, 'module', runner.model)
    if hasattr(model, 'module'):  # test-time augmentation wraps once more
        model = model.module
    content = read_checkpoint(path)
    _check_fit(model, unwrap(content, path), path,
               _refilled(model, content, path))


def _refilled(model: nn.Module, content: dict, path: str) -> Set[str]:
    """Names that a delta checkpoint leaves out and loading puts back."""
    found = records(content.get('state_dict', content))
    names: Set[str] = set()
    for where, backbone in tuned_backbones(model):
        record = found.get(where)
        if record is None:
            continue
        try:
            backbone.check_record(record)
        except CheckpointError as error:
            raise CheckpointError(f'{path} is not a checkpoint of this '
                                  f'config: {error}') from error
        if record.base:
            lead = f'{where}.' if where else ''
            names |= {lead + name for name in backbone.frozen_names}
    return names


def _check_fit(model: nn.Module, given: dict, path: str,
               refilled: Set[str]) -> None:
    own = model.state_dict()
    computed = tuple(
        ending for module in model.modules()
        for ending in getattr(module, 'derived', ()))
    missing = [k for k in own if k not in given and k not in refilled
               and not k.endswith(computed)]
    unexpected = [
        k for k in given if k not in own and not k.endswith(computed)
    ]
    shapes = [
        f'{k} {tuple(given[k].shape)} instead of {tuple(v.shape)}'
        for k, v in own.items() if k in given and given[k].shape != v.shape
    ]
    if missing or unexpected or shapes:
        raise CheckpointError(
            f'{path} is not a checkpoint of this config: {len(missing)} '
            f'tensors missing ({some(missing)}), {len(unexpected)} '
            f'unexpected ({some(unexpected)}), {len(shapes)} of another '
            f'shape ({some(shapes)})')
