"""Where the base of a delta checkpoint may be."""
import os
import os.path as osp
from typing import Iterator, Optional, Tuple
from urllib.parse import urlparse

from mmengine.model import PretrainedInit

from mona_mm.config import means

from .record import Base

Place = Tuple[str, Optional[str]]
#: Environment variable: the folder of bases, looked up by file name.
FOLDER = 'MONA_MM_BASES'


def candidates(base: Base, init_cfg=None) -> Iterator[Place]:
    """Where to look for a base: (path or URL, prefix), files before URLs.

    In turn the recorded place, what the backbone's own ``init_cfg`` names,
    and a file of the same name in the folder that the environment variable
    ``MONA_MM_BASES`` names.

    Args:
        base (Base): What the checkpoint records.
        init_cfg (dict | list[dict], optional): The backbone's.
    """
    places = [(base.source, base.prefix), *_configured(init_cfg)]
    if folder := os.environ.get(FOLDER):
        name = osp.basename(urlparse(base.source).path)
        places.append((osp.join(folder, name), base.prefix))
    yield from dict.fromkeys(
        sorted(places, key=lambda place: '://' in place[0]))


def pretrained_cfg(init_cfg) -> Optional[dict]:
    """The part of an ``init_cfg`` that names a pretrained file."""
    cfgs = init_cfg if isinstance(init_cfg, (list, tuple)) else [init_cfg]
    found = [c for c in cfgs
             if c and means(c.get('type'), PretrainedInit, 'Pretrained')]
    return found[-1] if found else None


def _configured(init_cfg) -> Iterator[Place]:
    cfg = pretrained_cfg(init_cfg)
    if cfg:
        yield cfg['checkpoint'], cfg.get('prefix')
