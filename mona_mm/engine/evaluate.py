"""What ``tools/test.py`` adds to a config, or does to a model, for a test."""
import copy

from mmengine.config import Config, ConfigDict
from mmengine.hooks import Hook
from mmengine.registry import HOOKS, METRICS

from mona_mm.config import (
    class_of,
    datasets,
    evaluators,
    library_of,
    name_of,
    takes,
)
from mona_mm.errors import ConfigError
from mona_mm.ops.fold import foldable, fuse, unfuse
from mona_mm.registry import HOOKS as OUR_HOOKS


def set_tta(cfg: Config) -> None:
    """Test with the config's test-time augmentation.

    Its pipeline goes into every dataset that reads files, whatever wraps
    them; what a wrapper mixes pictures with is left out.

    Raises:
        ConfigError: If the config has none.
    """
    missing = [k for k in ('tta_model', 'tta_pipeline') if k not in cfg]
    if missing:
        raise ConfigError('--tta needs test-time augmentation in the config, '
                          f'but it has no {" and no ".join(missing)}')
    for _, dataset in datasets(cfg.test_dataloader, wrappers=True):
        if 'pipeline' in dataset:
            dataset['pipeline'] = []
    for _, dataset in datasets(cfg.test_dataloader):
        dataset['pipeline'] = copy.deepcopy(cfg.tta_pipeline)
    cfg.model = ConfigDict(**cfg.tta_model, module=cfg.model)


def set_out(cfg: Config, out: str) -> None:
    """Write the predictions: to a .pkl file, or formatted to a folder (seg).

    Raises:
        ConfigError: If ``out`` is neither, or no metric writes pictures.
    """
    metrics = evaluators(cfg.get('test_evaluator'))
    if out.endswith(('.pkl', '.pickle')):
        detector = library_of(cfg) in ('mmdet', 'mmrotate')
        kind = 'mmdet.DumpDetResults' if detector else 'DumpResults'
        metrics.append(dict(type=kind, out_file_path=out))
        if 'metrics' in cfg.test_evaluator:  # of an evaluator with a type
            cfg.test_evaluator['metrics'] = metrics
        else:
            cfg.test_evaluator = metrics
        return
    if library_of(cfg) != 'mmseg':
        raise ConfigError(f'--out {out!r}: expected a file that ends with '
                          '.pkl or .pickle')
    classes = [class_of(metric.get('type'), METRICS, cfg.get('default_scope'))
               for metric in metrics]
    able = [m for m, cls in zip(metrics, classes) if takes(cls, 'output_dir')]
    if not able:
        found = ', '.join(name_of(m.get('type')) for m in metrics) or 'none'
        raise ConfigError(
            f'--out {out!r}: label pictures are written by a metric that has '
            f'an output_dir, such as IoUMetric; test_evaluator has {found}')
    # One writes for all of them: they get the same predictions.
    able[0].update(output_dir=out, keep_results=True)


def set_show(cfg: Config, show: bool, show_dir: str = None) -> None:
    """Show predictions in a window, or write them as pictures to a folder.

    Args:
        cfg (Config): Changed in place.
        show (bool): Whether to open windows.
        show_dir (str, optional): Below the work dir's time stamp, unless it
            is absolute.

    Raises:
        ConfigError: If the config has no visualization hook.
    """
    hook = (cfg.get('default_hooks') or {}).get('visualization')
    if hook is None:
        raise ConfigError('--show and --show-dir need default_hooks.'
                          'visualization in the config')
    cls = class_of(hook.get('type'), HOOKS, cfg.get('default_scope'))
    hook['enable' if takes(cls, 'enable') else 'draw'] = True
    hook['show'] = show
    hook['interval'] = 1
    if show_dir is None:
        return
    if takes(cls, 'test_out_dir'):  # it joins them itself
        hook['test_out_dir'] = show_dir
    elif takes(cls, 'out_dir'):
        hook['out_dir'] = show_dir
        cfg.show_dir = show_dir
    else:
        cfg.show_dir = show_dir


@OUR_HOOKS.register_module()
class FuseHook(Hook):
    """Test the folded model: ``tools/test.py --fuse``.

    It folds after everything else that changes weights (an EMA swaps them
    before the test epoch), and unfolds afterwards.
    """

    priority = 'LOWEST'

    def before_test_epoch(self, runner) -> None:
        """Fold, and say how much."""
        runner.model.eval()
        count = len(foldable(fuse(runner.model)))
        runner.logger.info(
            f'{count} modules folded for inference' if count else
            '--fuse: the model has nothing to fold')

    def after_test_epoch(self, runner, metrics=None) -> None:
        """Unfold."""
        unfuse(runner.model)
