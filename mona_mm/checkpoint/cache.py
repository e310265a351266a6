"""Checkpoints that are named, not pointed at: on servers, in the package.

Those on servers are fetched once, and kept by address. A file's name says
little about where it is from, so what is fetched lies in PyTorch's cache in a
folder of its address. Files that somebody put into the cache itself, under
their own names, are taken as well.
"""
import hashlib
import logging
import os
import os.path as osp
import re
from contextlib import suppress
from functools import lru_cache
from typing import Optional

import torch
from mmengine.dist import barrier
from mmengine.logging import print_log

from mona_mm.errors import CheckpointError, UserError
from mona_mm.text import kind_of, write_atomically

from .atomic import remove_partials
from .digest import file_digest
from .receiving import check_url, receive

#: What an address on a Hugging Face hub begins with.
HUB = 'hf://'
#: What the name of a file that comes with the package begins with.
SHIPPED = 'mona_mm://'
_BASES = osp.join(osp.dirname(osp.dirname(__file__)), 'bases')
_NAMED_HASH = re.compile(r'-([a-f0-9]{8,64})\.(?:pth|safetensors)$')


def fetch(source: str) -> str:
    """Return the local path of a checkpoint, downloading a URL once.

    The hash at the end of a name such as ``base-4f79f7c0.pth`` is compared
    with the file. For a URL, downloaded now or before, and for a file of the
    package it must be the file's; for a path another one is a warning,
    because mmengine's ``published_keys`` names files by a hash that is not
    quite theirs.
    (Digits without a letter are taken for a date.)

    Args:
        source (str): A path, an http(s) URL, ``hf://USER/NAME/FILE``, or
            ``mona_mm://FILE`` for one of ``mona_mm/bases``.

    Raises:
        CheckpointError: If the path is not that of a file, the download
            fails, or the file behind a URL is not the one that its name
            says.
    """
    source = on_hub(os.fspath(source))
    remote = is_url(source)
    path = _from_url(source) if remote else on_disk(source)
    if not osp.isfile(path):
        what = (f'is no regular file but a {kind_of(path)}'
                if osp.exists(path) else
                f'does not exist (looked for {osp.abspath(path)})')
        raise CheckpointError(f'checkpoint {source!r} {what}; give the path '
                              'of a .pth file, or a URL')
    told = _other_hash(path, osp.basename(path))
    if told and remote:
        raise CheckpointError(f'{told}: it is damaged or another file. Remove '
                              'it, to have it fetched again')
    if told and source.startswith(SHIPPED):
        raise CheckpointError(f'{told}: install mona_mm again')
    if told:
        print_log(f'{told}; was it changed?', logger='current',
                  level=logging.WARNING)
    return path


def on_disk(source: str) -> str:
    """The path that a name without a server stands for.

    ``mona_mm://FILE`` is a file that comes with the package.
    """
    if source.startswith(SHIPPED):
        return osp.join(_BASES, osp.basename(source))
    return osp.expanduser(source)


def on_hub(source: str) -> str:
    """The URL of a file on a Hugging Face hub; other names as they are.

    ``hf://USER/NAME/FILE``, with ``USER/NAME@REVISION`` for another revision
    than ``main``. The hub is the one of ``HF_ENDPOINT``, if that is set.

    Raises:
        CheckpointError: If it begins with ``hf://`` and goes on otherwise.
    """
    if not source.startswith(HUB):
        return source
    found = re.fullmatch(r'([^/@]+/[^/@]+)(?:@([^/]+))?/(.+)',
                         source[len(HUB):])
    if found is None:
        raise CheckpointError(f'{source!r}: expected hf://USER/NAME/FILE')
    name, revision, file = found.groups()
    hub = os.environ.get('HF_ENDPOINT', 'https://huggingface.co').rstrip('/')
    return f'{hub}/{name}/resolve/{revision or "main"}/{file}'


def is_url(source: str) -> bool:
    """Whether a checkpoint is named by an http(s) address, or a hub's."""
    return os.fspath(source).lower().startswith(
        ('http://', 'https://', HUB))


def file_name(source: str) -> str:
    """The last part of a path or URL."""
    path = re.split('[?#]', source)[0] if is_url(source) else source
    return osp.basename(path)


def cached(url: str) -> Optional[str]:
    """The file that stands for a URL, if it is here already."""
    url = on_hub(url)
    found = filter(osp.isfile, (_own_place(url), _by_hand(url)))
    return next(found, None)


def forget(source: str) -> None:
    """Remove what was fetched from a URL, because it is no good.

    A path, and a file that somebody put into the cache, are left alone.
    """
    if is_url(source):
        place = _own_place(on_hub(source))
        with suppress(OSError):  # not there, or another process was faster
            os.remove(place)
            os.rmdir(osp.dirname(place))


def _from_url(url: str) -> str:
    try:
        check_url(url)
    except ValueError as error:
        raise CheckpointError(f'{url!r} is no address of a checkpoint '
                              f'({error})') from error
    path = cached(url)
    if path is not None:
        doubt = path == _by_hand(url) and not _named_hash(path)
        print_log(
            f'{path} is taken for {url}' +
            (', although its name has no hash that says so' if doubt else ''),
            logger='current', level=logging.WARNING if doubt else logging.INFO)
    try:
        first = os.environ.get('LOCAL_RANK', '0') == '0'  # of this machine
        if first and path is None:
            _download(url, _own_place(url))
    finally:
        barrier()
    path = path or cached(url)
    if path is None:
        raise CheckpointError(f'{url} was not downloaded')
    return path


def _download(url: str, path: str) -> None:
    remove_partials(osp.dirname(path))
    try:
        with write_atomically(path) as partial:
            with open(partial, 'ab') as file:
                receive(url, file)
            if told := _other_hash(partial, osp.basename(path)):
                raise UserError(told)
    except UserError as error:
        raise CheckpointError(
            f'cannot download {url} ({error}); fetch it by hand and give its '
            f'path, or put it at {_by_hand(url)}') from error
    finally:
        with suppress(OSError):  # it holds something after all
            os.rmdir(osp.dirname(path))


def _own_place(url: str) -> str:
    """Where a download goes: the cache, by address."""
    key = hashlib.sha256(url.encode(errors='backslashreplace')).hexdigest()
    folder, name = osp.split(_by_hand(url))
    return osp.join(folder, 'by_address', key[:32], name)


def _by_hand(url: str) -> str:
    """Where PyTorch keeps what is behind a URL, and people put it."""
    return osp.join(torch.hub.get_dir(), 'checkpoints', file_name(url))


def _other_hash(path: str, name: str) -> Optional[str]:
    """What is wrong with the hash in a file's name, if anything is."""
    named = _named_hash(name)
    if named is None:
        return None
    status = os.stat(path)
    found = _known_digest(path, status.st_mtime_ns, status.st_size)
    if found.startswith(named):
        return None
    return (f'{path}: its name says that its SHA-256 hash starts with '
            f'{named}, but it starts with {found[:8]}')


def _named_hash(name: str) -> Optional[str]:
    found = _NAMED_HASH.search(name)
    return found[1] if found and not found[1].isdigit() else None


@lru_cache(maxsize=64)
def _known_digest(path: str, mtime: int, size: int) -> str:
    """Hash a file, once per process as long as it does not change."""
    return file_digest(path)
