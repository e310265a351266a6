"""A generated picture set, written in every OpenMMLab family's format."""

import hashlib
import inspect
import json
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .formats import (
    SPLITS,
    SplitWriter,
    write_image,
    write_json,
)
from .scene import (
    PALETTE,
    SOURCE_CLASSES,
    TARGET_CLASSES,
    Scene,
    render_scene,
    render_single,
)

__all__ = ['PALETTE', 'SOURCE_CLASSES', 'TARGET_CLASSES', 'VERSION',
           'make_shapes']

GENERATOR = 'mona_mm.research.shapes'
VERSION = 2
META_NAME = 'meta.json'
MIN_SIZE = 32

# Image streams: the middle number of each image's random seed.
_STREAMS = {(group, split): number for number, (group, split) in enumerate(
    (group, split) for group in (
        'scenes', 'folders', 'source', 'varied')
    for split in SPLITS)}

# So many images are drawn at most before the first of them is written.
_AHEAD = 400

Tick = Callable[[], None]


def make_shapes(root: str | os.PathLike[str], *, train: int = 640,
                val: int = 800, size: int = 128, per_class: int = 100,
                source_per_class: int = 0, varied_per_class: int = 0,
                val_per_class: int = 60,
                seed: int = 0, overwrite: bool = False,
                progress: bool = False,
                processes: int = 1) -> dict[str, Any]:
    """Render the set under ``root``, or return at once if it is there.

    The same arguments give the same bytes. The files appear under ``root``
    all at once, when the last one is written.

    Args:
        root: Folder to create.
        train: Number of detection-like training images.
        val: Number of detection-like validation images.
        size: Side of those images in pixels, 32 or more.
        per_class: Training images of each target class.
        source_per_class: Training images of each source class.
        varied_per_class: Varied training images of each source class.
        val_per_class: Validation images of each target class, and of each
            source class, calm or varied, where it has training images.
        seed: Seed of all randomness, 0 or more.
        overwrite: Replace a set made with other arguments.
        progress: Show a progress bar.
        processes: How many draw pictures; more are faster and draw the
            same. They are started anew, so that a script that asks for more
            than one needs the usual ``if __name__ == '__main__'``.

    Returns:
        The content of ``meta.json`` and ``reused``: True if nothing was
        written because ``root`` already held this very set.

    Raises:
        ValueError: If a number is not an integer or is too small.
        FileExistsError: If ``root`` holds anything else and ``overwrite`` is
            not set, or if it was not written by this generator.
    """
    arguments = dict(train=train, val=val, size=size, per_class=per_class,
                     source_per_class=source_per_class,
                     varied_per_class=varied_per_class,
                     val_per_class=val_per_class, seed=seed)
    _check(dict(arguments, processes=processes))
    folder = Path(root).resolve()
    old = _read_meta(folder)
    if old and _same(old, arguments):
        return dict(old, reused=True)
    _refuse_foreign(folder, old, overwrite)
    with _replacing(folder) as target:
        counts = _write_all(target, arguments, progress, processes)
        meta = dict(
            generator=GENERATOR, version=VERSION, arguments=arguments,
            seed=seed, counts=counts, target_classes=list(TARGET_CLASSES),
            source_classes=list(SOURCE_CLASSES), sha256=_digest(target))
        write_json(target / META_NAME, meta)
    return dict(meta, reused=False)


def _check(arguments: dict[str, int]) -> None:
    """Raise ValueError for the first argument out of its range."""
    for name, value in arguments.items():
        least = dict(size=MIN_SIZE, processes=1).get(name, 0)
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not whole or value < least:
            raise ValueError(f'{name}={value!r}: expected an integer of '
                             f'{least} or more')


def _same(meta: dict[str, Any], arguments: dict[str, int]) -> bool:
    """Tell whether a set was made with these arguments.

    Arguments that it does not know of added nothing: the default of theirs.
    """
    known = inspect.signature(make_shapes).parameters
    defaults = {name: known[name].default for name in arguments}
    return meta.get('version') == VERSION and (
        {**defaults, **meta.get('arguments', {})} == arguments)


def _read_meta(folder: Path) -> dict[str, Any] | None:
    """Return the meta of a set of this generator, or None."""
    try:
        meta = json.loads((folder / META_NAME).read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return None
    ours = isinstance(meta, dict) and meta.get('generator') == GENERATOR
    return meta if ours else None


def _refuse_foreign(folder: Path, old: dict[str, Any] | None,
                    overwrite: bool) -> None:
    """Raise FileExistsError unless ``folder`` may be written."""
    if not folder.exists():
        return
    if old is None:
        raise FileExistsError(
            f'{folder} exists and was not written by {GENERATOR} (it has no '
            f'{META_NAME} of it): it is left alone, choose another folder')
    if not overwrite:
        raise FileExistsError(
            f'{folder} holds a set made with {old.get("arguments")} (version '
            f'{old.get("version")}): pass overwrite (--overwrite) to replace '
            'it or choose another folder')


@contextmanager
def _replacing(folder: Path) -> Iterator[Path]:
    """Yield an empty sibling folder that takes the place of ``folder``."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = folder.with_name(f'.{folder.name}.new-{os.getpid()}')
    stale = folder.with_name(f'.{folder.name}.old-{os.getpid()}')
    fresh.mkdir()
    try:
        yield fresh
        if folder.exists():
            folder.rename(stale)
        fresh.rename(folder)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        if stale.exists():
            stale.rename(folder)
        raise
    shutil.rmtree(stale, ignore_errors=True)


def _digest(root: Path) -> str:
    """Return the SHA-256 over all files' content in sorted path order."""
    digest = hashlib.sha256()
    files = (path for path in root.rglob('*') if path.is_file())
    for path in sorted(files, key=lambda p: p.relative_to(root).as_posix()):
        digest.update(path.read_bytes())
    return digest.hexdigest()


@contextmanager
def _progress(total: int, shown: bool) -> Iterator[Tick]:
    """Yield a function to call after each image."""
    if not shown:
        yield lambda: None
        return
    from rich.progress import Progress
    with Progress() as bar:
        yield partial(bar.advance, bar.add_task('Rendering', total=total))


@contextmanager
def _mapping(processes: int) -> Iterator[Callable[..., Iterator[Any]]]:
    """Yield what maps a function over a range, in its order."""
    if processes == 1:
        yield map
        return
    # Not forked: cv2's threads, of whoever calls this, do not survive it.
    pool = ProcessPoolExecutor(
        processes, multiprocessing.get_context('spawn'))

    def over(function: Callable[[int], Any], numbers: range) -> Iterator[Any]:
        for start in range(0, len(numbers), _AHEAD):
            yield from pool.map(
                function, numbers[start:start + _AHEAD], chunksize=20)

    try:
        yield over
    finally:
        pool.shutdown(cancel_futures=True)  # what is left after an error


def _write_all(root: Path, arguments: dict[str, int], progress: bool,
               processes: int) -> dict[str, int]:
    """Write every layout and return the number of images and objects."""
    seed, size = arguments['seed'], arguments['size']
    scenes = [(split, arguments[split]) for split in SPLITS]
    singles = [
        (group, split, names,
         arguments[key if split == 'train' else 'val_per_class'])
        for group, names, key in (
            ('folders', TARGET_CLASSES, 'per_class'),
            ('source', SOURCE_CLASSES, 'source_per_class'),
            ('varied', SOURCE_CLASSES, 'varied_per_class'))
        for split in SPLITS
        if group == 'folders' or arguments[key]]
    total = sum(count for _, count in scenes) + sum(
        count * len(names) for _, _, names, count in singles)
    counts: dict[str, int] = {}
    with _progress(total, progress) as tick, _mapping(processes) as over:
        for split, count in scenes:
            writer = SplitWriter(root, split)
            for scene in over(partial(_scene, seed, split, size),
                              range(count)):
                writer.add(scene)
                tick()
            counts[f'{split}_images'] = count
            counts[f'{split}_objects'] = writer.close()
        for group, split, names, count in singles:
            counts[f'{group}_{split}_images'] = count * len(names)
            for name in names:
                (root / group / split / name).mkdir(parents=True)
            images = over(partial(_single, seed, group, split, names),
                          range(count * len(names)))
            for index, image in enumerate(images):
                name = names[index % len(names)]
                number = index // len(names)
                write_image(root / group / split / name
                            / f'{name}_{number:05d}.jpg', image)
                tick()
    return counts


def _scene(seed: int, split: str, size: int, index: int) -> Scene:
    """Draw one detection-like image."""
    return render_scene(np.random.default_rng(
        [seed, _STREAMS['scenes', split], index]), size)


def _single(seed: int, group: str, split: str, names: tuple[str, ...],
            index: int) -> NDArray[np.uint8]:
    """Draw one single-object image.

    Classes take turns, so that a larger count only adds images.
    """
    rng = np.random.default_rng([seed, _STREAMS[group, split], index])
    return render_single(rng, names[index % len(names)],
                         varied=group == 'varied')
