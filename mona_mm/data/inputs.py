"""Pictures to look at: files, folders of them, or a video."""
import glob
import os
import os.path as osp
from typing import Iterator, List, NamedTuple, Optional, Sequence

import cv2
import mmcv
import numpy as np

from mona_mm.errors import ConfigError

PICTURES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp', '.ppm',
            '.pgm')
VIDEOS = ('.mp4', '.avi', '.mov', '.mkv', '.webm', '.m4v', '.mpg', '.mpeg')


class Picture(NamedTuple):
    """One picture.

    Attributes:
        name (str): What it is called: its path, or the number of a frame.
        path (str | None): Its file; none for a frame.
        pixels (np.ndarray): (H, W, 3) uint8, BGR, as pipelines load it.
    """
    name: str
    path: Optional[str]
    pixels: np.ndarray


class Inputs:
    """Pictures one after the other; only the one at hand is in memory.

    Args:
        words (Sequence[str]): Files, folders (with what is below), patterns
            (``'a/*.png'``), or one video.
        every (int): Take each so-manieth frame of a video. Defaults to 1.

    Attributes:
        fps (float | None): Frames that are taken, per second; none if it is
            no video.

    Raises:
        ConfigError: If something is not there, is no picture, or a folder
            has none.
    """

    def __init__(self, words: Sequence[str], every: int = 1) -> None:
        if every < 1:
            raise ConfigError(f'every={every}: expected 1 or more')
        self.every, self.fps = every, None
        self.files: List[str] = []
        for word in words:
            self.files += _files(word)
        videos = [f for f in self.files if f.lower().endswith(VIDEOS)]
        if videos and len(self.files) > 1:
            raise ConfigError(f'{videos[0]} is a video: give it alone')
        self.video = videos[0] if videos else None
        if self.video:
            film = _opened(self.video)
            self.fps = (film.get(cv2.CAP_PROP_FPS) or 25.) / every
            frames = int(film.get(cv2.CAP_PROP_FRAME_COUNT))
            self.count = -(-frames // every)
            film.release()

    def __len__(self) -> int:
        return self.count if self.video else len(self.files)

    def __iter__(self) -> Iterator[Picture]:
        if self.video:
            yield from self._frames()
            return
        for path in self.files:
            try:
                with open(path, 'rb') as file:
                    pixels = mmcv.imfrombytes(file.read())
            except OSError as error:
                raise ConfigError(f'{path}: {error.strerror}') from error
            except cv2.error:  # of an empty file
                pixels = None
            if pixels is None:
                raise ConfigError(f'{path}: not a picture that OpenCV reads, '
                                  'or a damaged one')
            yield Picture(path, path, pixels)

    def _frames(self) -> Iterator[Picture]:
        film, number = _opened(self.video), 0
        try:
            while True:
                if not film.grab():
                    break
                if number % self.every == 0:
                    yield Picture(f'frame {number}', None,
                                  film.retrieve()[1])
                number += 1
        finally:
            film.release()
        if not number:
            raise ConfigError(f'{self.video}: no frame could be decoded')


def _opened(path: str) -> cv2.VideoCapture:
    film = cv2.VideoCapture(path)
    if not film.isOpened():
        raise ConfigError(f'{path}: not a video that OpenCV reads, or a '
                          'damaged one')
    return film


def _files(word: str) -> List[str]:
    """The files that a word of the command line means."""
    if osp.isdir(word):
        found = sorted(
            osp.join(folder, name)
            for folder, _, names in os.walk(word, followlinks=True)
            for name in names if name.lower().endswith(PICTURES))
        if not found:
            raise ConfigError(f'{word}: no picture in this folder '
                              f'({", ".join(PICTURES)})')
        return found
    if osp.isfile(word):
        if not word.lower().endswith(PICTURES + VIDEOS):
            raise ConfigError(f'{word}: expected a picture '
                              f'({", ".join(PICTURES)}), a folder of them, '
                              f'or a video ({", ".join(VIDEOS)})')
        return [word]
    found = sorted(glob.glob(word, recursive=True))
    if not found:
        raise ConfigError(f'{word}: no such file or folder')
    return [f for name in found for f in _files(name)]
