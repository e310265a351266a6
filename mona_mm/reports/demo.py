"""What checkpoints make of pictures: side by side, and as a page."""
import os
import os.path as osp
from typing import Any, Dict, List, Optional, Sequence, Tuple

import cv2
import numpy as np
from mmengine.config import Config
from tqdm import tqdm

from mona_mm.data.inputs import Inputs, Picture
from mona_mm.data.truths import Truths
from mona_mm.engine.predict import Predictor
from mona_mm.errors import ConfigError
from mona_mm.text import partial_name

from .drawing import Drawing, plain
from .gallery import Entry, file_name, side_by_side, write_page, write_picture

TRUTH = 'ground truth'


def titles_of(checkpoints: Sequence[str],
              titles: Optional[Sequence[str]] = None) -> Dict[str, str]:
    """{title: checkpoint}; by default as little of the path as tells them
    apart, such as the work dirs' names.

    Raises:
        ConfigError: If there are not as many titles, or two are the same.
    """
    if titles and len(titles) != len(checkpoints):
        raise ConfigError(f'{len(titles)} titles for {len(checkpoints)} '
                          f'checkpoints: {", ".join(titles)}')
    if not titles:
        parts = [osp.splitext(osp.abspath(c))[0].split(os.sep)
                 for c in checkpoints]
        titles = [p[-1] for p in parts]
        if len(set(titles)) < len(titles):
            most = max(map(len, parts))
            differ = [i for i in range(-1, -most - 1, -1)
                      if len({tuple(p[i:i + 1] or p[:1]) if i < -1
                              else (p[-1], ) for p in parts}) > 1]
            titles = ['/'.join(p[i] for i in reversed(differ)
                               if -i <= len(p)) for p in parts]
    if len(set(titles)) < len(checkpoints):
        raise ConfigError('two checkpoints have the same title: '
                          f'{", ".join(titles)}; give --titles')
    return dict(zip(titles, checkpoints))


def show(cfg: Config, predictor: Predictor, inputs: Inputs,
         checkpoints: Dict[str, str], out: str, score_thr: float = 0.3,
         annotations: bool = False, side: int = 640,
         progress: bool = True) -> str:
    """Predict, draw and write a page.

    Args:
        cfg (Config): Of the model and its test data.
        predictor (Predictor): Of the checkpoints.
        inputs (Inputs): The pictures, or a video.
        checkpoints (dict[str, str]): {title: file}.
        out (str): Folder for ``index.html``, ``pictures`` and ``video.webm``.
        score_thr (float): Lowest score of a box that is drawn.
        annotations (bool): Draw the ground truth of the config's test data
            first.
        side (int): Longer side of a panel in pixels. Defaults to 640.
        progress (bool): Whether to show a bar.

    Returns:
        str: The page.

    Raises:
        ConfigError: If there are annotations of none of the pictures.
    """
    if annotations and inputs.video:
        raise ConfigError('--annotations: the frames of a video have none')
    truths = Truths(cfg, predictor.classes) if annotations else None
    if truths and not any(map(truths.knows, inputs.files)):
        raise ConfigError(
            '--annotations: the test data of the config know none of the '
            f'{len(inputs)} pictures, such as {inputs.files[0]}; name others '
            'with --cfg-options test_dataloader.dataset.data_root=...')
    drawing = Drawing(cfg, predictor, score_thr)
    entries: List[Entry] = []
    taken: set = set()
    film = None
    try:
        for picture in tqdm(inputs, disable=not progress, unit='picture',
                            desc='predict'):
            truth = truths and truths.find(picture)
            panels, rows = _panels(picture, predictor, drawing, checkpoints,
                                   truth, truths is not None, side)
            image = side_by_side(panels)
            if inputs.video:
                film = film or _Film(osp.join(out, 'video.webm'),
                                     inputs.fps, image)
                film.add(image)
                continue
            name = f'pictures/{file_name(picture.name, taken)}.jpg'
            write_picture(osp.join(out, name), image)
            height, width = picture.pixels.shape[:2]
            entries.append(Entry(
                picture.name, name, image.shape[1::-1],
                f'{width} x {height} pixels', rows))
        if film:
            film.close()
    finally:
        if film:
            film.discard()
    facts = [('config', str(cfg.filename)), *checkpoints.items()]
    if predictor.slices.size:
        facts.append(('windows', f'{predictor.slices.size} pixels, '
                      f'overlapping by {predictor.slices.gap}'))
    if predictor.library in ('mmdet', 'mmrotate'):
        facts.append(('drawn', f'scores above {score_thr}'))
    page = osp.join(out, 'index.html')
    write_page(page, f'{osp.basename(cfg.filename or "model")}: '
               f'{len(inputs)} {"frames" if film else "pictures"}',
               facts, entries, 'video.webm' if film else '')
    return page


def _panels(picture: Picture, predictor: Predictor, drawing: Drawing,
            checkpoints: Dict[str, str], truth: Any, annotated: bool,
            side: int) -> Tuple[Dict[str, np.ndarray],
                                List[Tuple[str, str]]]:
    """{title: drawing} of a picture, the ground truth first, and words."""
    found = [(TRUTH, truth, True)] if annotated else []
    found += [(title, predictor.predict(title, picture.pixels), False)
              for title in checkpoints]
    panels, rows = {}, []
    for title, sample, is_truth in found:
        if sample is None:
            panels[f'{title} (none)'] = plain(picture.pixels, side)
            rows.append((title, 'no annotations'))
            continue
        panels[title] = drawing.draw(picture.pixels, sample, is_truth, side)
        words = drawing.summary(sample, is_truth)
        rows.append((title, ', '.join(
            f'{name} {value}'.strip() for name, value in words) or 'nothing'))
    return panels, rows


class _Film:
    """A video that browsers play; there once it is complete."""

    def __init__(self, path: str, fps: float, first: np.ndarray) -> None:
        os.makedirs(osp.dirname(path) or '.', exist_ok=True)
        self.path, self._partial = path, f'{partial_name(path)}.webm'
        self._writer = cv2.VideoWriter(
            self._partial, cv2.VideoWriter_fourcc(*'VP80'), fps,
            first.shape[1::-1])
        if not self._writer.isOpened():
            raise ConfigError(f'cannot write {path}: OpenCV here has no '
                              'encoder for VP8, or the folder is not '
                              'writable')

    def add(self, image: np.ndarray) -> None:
        self._writer.write(np.ascontiguousarray(image[..., ::-1]))

    def close(self) -> None:
        self._writer.release()
        os.replace(self._partial, self.path)

    def discard(self) -> None:
        """Remove what is not complete."""
        self._writer.release()
        if osp.exists(self._partial):
            os.remove(self._partial)
