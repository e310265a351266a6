"""Where the base of a delta checkpoint may be."""
import os
import os.path as osp
from typing import Iterable, Iterator, Optional, Set, Tuple
from urllib.parse import urlsplit

from mmengine.model import PretrainedInit

from mona_mm.config import means
from mona_mm.errors import CheckpointError

from .cache import cached, file_name, is_url, on_hub
from .record import Base

Place = Tuple[str, Optional[str]]
#: Environment variable: the folder of bases, looked up by file name.
FOLDER = 'MONA_MM_BASES'
#: Environment variable: further hosts that a checkpoint may send us to.
HOSTS = 'MONA_MM_BASE_HOSTS'
#: Those of docs/weights.md.
KNOWN_HOSTS = ('download.openmmlab.com', 'github.com',
               'dl.fbaipublicfiles.com', 'storage.googleapis.com')
_allowed: Set[str] = set()


def allow_hosts(hosts: Iterable[str]) -> None:
    """Let bases be fetched from further hosts too, for this process."""
    _allowed.update(host.lower() for host in hosts)


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
        places.append((osp.join(folder, file_name(base.source)),
                       base.prefix))
    yield from dict.fromkeys(
        sorted(places, key=lambda place: '://' in place[0]))


def check_address(source: str, init_cfg=None) -> None:
    """Refuse to fetch a base from where only a checkpoint says it is.

    Whoever made the checkpoint could have any server asked, from within the
    user's network. Paths, and what is in the cache, are no matter.

    Args:
        source (str): What :func:`candidates` gave.
        init_cfg (dict | list[dict], optional): The backbone's: the host that
            it names is the user's choice.

    Raises:
        CheckpointError: If the host is neither the user's nor one of
            docs/weights.md; the message says how to allow it.
    """
    if not is_url(source) or cached(source) is not None:
        return
    allowed = {*KNOWN_HOSTS, *_allowed,
               *os.environ.get(HOSTS, '').lower().split(','),
               *(_host(place) for place, _ in _configured(init_cfg))}
    host = _host(source)
    if not host or host not in allowed:
        raise CheckpointError(
            f'{source} was not fetched, because only the checkpoint names '
            f'{host or "it"}. If you trust that host: --base-host {host} '
            f'(tools/train.py, tools/test.py), or {HOSTS}={host}')


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


def _host(url: str) -> str:
    """Host and port of an address as written; '' of anything else."""
    try:
        return urlsplit(on_hub(url)).netloc.lower() if is_url(url) else ''
    except ValueError:
        return ''
