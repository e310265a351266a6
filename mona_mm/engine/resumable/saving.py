"""Checkpoints of which the last good one is always there."""
import os.path as osp
import re
import shutil
from contextlib import suppress
from typing import Any, Dict, List, Optional

from mmengine.dist import barrier, is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from mona_mm.checkpoint.atomic import ATOMIC, remove_partials, replace_file
from mona_mm.checkpoint.plain import plain
from mona_mm.compat import resumes, started_from
from mona_mm.errors import CheckpointError
from mona_mm.registry import HOOKS
from mona_mm.text import some

from ..watch.nonfinite import not_numbers
from .state import RunStateHook, find_hook

#: The file of a run that was asked to stop between two checkpoints.
INTERRUPTED = 'interrupted.pth'
_OUTDATED = 'outdated_ckpts'
#: What a checkpoint says about files of its run.
_CLAIMS = (_OUTDATED, 'best_ckpt', 'keep_ckpt_ids')
#: Parts of a checkpoint that hold tensors alone.
_STATES = ('state_dict', 'ema_state_dict')


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """mmengine's CheckpointHook, safe against a kill at any moment.

    Files come into place in one step, ``last_checkpoint`` too, and what they
    replace (``max_keep_ckpts``, the previous best) is removed only then. It
    takes all arguments of ``CheckpointHook``; with a remote ``out_dir``, or
    ``backend_args`` of your own, writing is up to that backend.
    """

    #: The newest checkpoint of this process's run that is in place.
    last_saved: Optional[str] = None

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        #: Names within ``out_dir`` of what is to be removed.
        self._outdated: List[str] = []

    def before_train(self, runner: Runner) -> None:
        """Choose the backend, tidy up, and check the disk.

        Raises:
            CheckpointError: If the disk cannot hold one checkpoint.
        """
        if (self.backend_args is None and self.file_client_args is None
                and '://' not in str(self.out_dir or '')):
            self.backend_args = dict(backend=ATOMIC)
        # What the resumed checkpoint wants removed, before mmengine does it.
        info = runner.message_hub.runtime_info
        claims = {
            key: info.pop(key) for key in list(info)
            if resumes(runner) and key.startswith(_CLAIMS)
        }
        super().before_train(runner)
        source = str(started_from(runner) or '')
        folders = [osp.dirname(source), str(self.out_dir)]
        if '://' not in source:
            folders = list(map(osp.realpath, folders))
        # What another folder's run has saved is that run's to remove.
        if resumes(runner) and source and (
                folders[0].rstrip('/') == folders[1].rstrip('/')):
            self._take_over(runner, claims)
        if is_main_process() and self.backend_args == dict(backend=ATOMIC):
            for path in remove_partials(self.out_dir):
                runner.logger.info(f'{path}: removed; a killed run had not '
                                   'finished writing it')
            _check_space(runner, self.out_dir)
        self._remove_outdated(runner)  # killed between saving and removing
        _tell_what_is_left_out(runner)

    def before_save_checkpoint(self, runner: Runner,
                               checkpoint: Dict[str, Any]) -> None:
        """Make all but tensors plain, so that the file can be read again."""
        for key, value in checkpoint.items():
            if key not in _STATES:
                checkpoint[key], _ = plain(value)

    def after_train(self, runner: Runner) -> None:
        """Publish what is there: of some metrics there may be no best."""
        best = getattr(self, 'best_ckpt_path_dict', {})
        self.best_ckpt_path_dict = {k: v for k, v in best.items() if v}
        super().after_train(runner)

    def save_interrupted(self, runner: Runner, meta: dict) -> str:
        """Save everything now, whatever the interval and the options are.

        Args:
            runner (Runner): The runner; all processes have to call this.
            meta (dict): ``epoch`` and ``iter`` to go on from.

        Returns:
            str: The file. The next regular checkpoint removes it.
        """
        path = self.file_backend.join_path(self.out_dir, INTERRUPTED)
        self._write(runner, INTERRUPTED, meta, dict(by_epoch=False))
        self._point_to(runner, path)
        barrier()
        return path

    def _take_over(self, runner: Runner, claims: Dict[str, Any]) -> None:
        """Go on with what a checkpoint says of its run's other files.

        It may come from anyone, and its folder may have been moved: names
        count, and only those that this hook gives.
        """
        hub = runner.message_hub
        ids = claims.get('keep_ckpt_ids', [])
        if self.max_keep_ckpts > 0 and isinstance(ids, list):
            self.keep_ckpt_ids.extend(i for i in ids if type(i) is int)
            for old in ids[:-self.max_keep_ckpts]:
                if type(old) is int:
                    self._outdate(self.filename_tmpl.format(old))
            hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))
        for key in self.key_indicators if self.save_best else ():
            one = len(self.key_indicators) == 1
            claim = 'best_ckpt' if one else f'best_ckpt_{key}'
            if name := self._named(claims.get(claim), 'best_.+_'):
                path = self.file_backend.join_path(self.out_dir, name)
                hub.update_info(claim, path)
                if one:
                    self.best_ckpt_path = path
                else:
                    self.best_ckpt_path_dict[key] = path
        outdated = claims.get(_OUTDATED, [])
        for claim in outdated if isinstance(outdated, list) else []:
            name = self._named(claim, '(best_.+_)?')
            if name and name != osp.basename(started_from(runner)):
                self._outdate(name)

    def _named(self, claim: Any, lead: str) -> Optional[str]:
        """The file name in a path, if it is one that this hook gives."""
        name = osp.basename(claim) if isinstance(claim, str) else ''
        own = re.sub(r'\\{.*?\\}', r'\\d+', re.escape(self.filename_tmpl))
        return name if re.fullmatch(lead + own, name) else None

    def _save_checkpoint_with_step(self, runner, step, meta) -> None:
        """Save, point to it, and only then remove what is outdated."""
        name = self.filename_tmpl.format(step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        self._count(runner, step)
        runner.message_hub.update_info(_OUTDATED, list(self._outdated))
        self._write(runner, name, meta, dict(
            by_epoch=self.by_epoch,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            **self.args))
        self._point_to(runner, self.last_ckpt)
        self._remove_outdated(runner)

    def _save_best_checkpoint(self, runner, metrics) -> None:
        """As in mmengine, but the previous best goes last.

        A metric that is no number never becomes the best.
        """
        lost = not_numbers(metrics)
        metrics = {k: None if k in lost else v for k, v in metrics.items()}
        backend = self.file_backend
        self.file_backend = _Postponed(backend, self._outdated)
        try:
            super()._save_best_checkpoint(runner, metrics)
        finally:
            self.file_backend = backend
        self._remove_outdated(runner)

    def _count(self, runner, step: int) -> None:
        """Keep the newest ``max_keep_ckpts``; the others are outdated."""
        self._outdate(INTERRUPTED)
        if self.max_keep_ckpts <= 0:
            return
        ids = [i for i in self.keep_ckpt_ids if i != step] + [step]
        for old in ids[:-self.max_keep_ckpts]:
            self._outdate(self.filename_tmpl.format(old))
        self.keep_ckpt_ids.clear()
        self.keep_ckpt_ids.extend(ids[-self.max_keep_ckpts:])
        runner.message_hub.update_info('keep_ckpt_ids',
                                       list(self.keep_ckpt_ids))

    def _outdate(self, name: str) -> None:
        path = self.file_backend.join_path(self.out_dir, name)
        if name not in self._outdated and self.file_backend.exists(path):
            self._outdated.append(name)

    def _write(self, runner, name: str, meta: dict, options: dict) -> None:
        state = find_hook(runner, RunStateHook)
        if state is not None:  # on all ranks: mmengine saves on one alone
            meta['run_state'] = state.collect(runner, meta)
        runner.save_checkpoint(
            self.out_dir,
            name,
            self.file_client_args,
            meta=meta,
            backend_args=self.backend_args,
            **options)

    def _point_to(self, runner: Runner, path: str) -> None:
        self.last_saved = path
        if is_main_process():
            replace_file(osp.join(runner.work_dir, 'last_checkpoint'),
                         str(path).encode())

    def _remove_outdated(self, runner) -> None:
        """Remove them, except what has become current again."""
        if isinstance(self.file_backend, _Postponed):
            return
        hub = runner.message_hub
        best = getattr(self, 'best_ckpt_path_dict', {}).values()
        current = {osp.basename(str(path)) for path in (
            self.last_ckpt, getattr(self, 'best_ckpt_path', None), *best,
            hub.runtime_info.get('last_ckpt'))}
        for name in self._outdated if is_main_process() else []:
            if name not in current:
                backend = self.file_backend
                path = backend.join_path(self.out_dir, name)
                with suppress(FileNotFoundError):
                    if backend.isdir(path):  # DeepSpeed's are folders
                        backend.rmtree(path)
                    elif backend.isfile(path):
                        backend.remove(path)
                runner.logger.info(f'{path}: removed; newer ones are kept')
        self._outdated.clear()
        runner.message_hub.update_info(_OUTDATED, [])


class _Postponed:
    """A file backend that notes removals, by name, and does none."""

    def __init__(self, backend, noted: list) -> None:
        self.backend, self.noted = backend, noted

    def remove(self, path) -> None:
        self.noted.append(osp.basename(str(path)))

    rmtree = remove

    def __getattr__(self, name: str):
        return getattr(self.backend, name)


def _tell_what_is_left_out(runner: Runner) -> None:
    """Name, before anything is trained, what a checkpoint cannot hold."""
    dataset = runner.train_loop.dataloader.dataset
    for name, value in (
        ('the metainfo of the training data',
         dict(getattr(dataset, 'metainfo', None) or {})),
        ('runtime_info of the message hub',
         runner.message_hub.state_dict()['runtime_info'])):
        _, left = plain(value)
        if left:
            runner.logger.warning(
                f'not saved in checkpoints, because only plain data can be '
                f'read from them: of {name}, {some(left)}')


def _check_space(runner: Runner, folder: str) -> None:
    """Compare the disk with one checkpoint: parameters and Adam's moments.

    Only the trained weights are sure to be saved, so only for these it stops.
    """
    params = list(runner.model.parameters())
    trained = sum(p.numel() * p.element_size() for p in params
                  if p.requires_grad)
    full = 2 * trained + sum(p.numel() * p.element_size() for p in params)
    while not osp.isdir(folder):
        folder = osp.dirname(osp.abspath(folder))
    free = shutil.disk_usage(folder).free
    told = (f'{folder} has {free / 2**20:,.0f} MiB free; a full checkpoint '
            f'takes about {full / 2**20:,.0f} MiB')
    if free < trained:
        raise CheckpointError(f'{told}: no checkpoint could be saved. Free '
                              'some space, or name another --work-dir')
    if free < full:
        runner.logger.warning(told)
