"""Fetching files, where the user asks for it."""
import hashlib
import os
from pathlib import Path

from tqdm import tqdm

from mona_mm.checkpoint.receiving import receive
from mona_mm.errors import ConfigError, UserError
from mona_mm.text import cannot_write

from .files import check_regular

BLOCK = 1 << 20


def download(url: str, path: Path, md5: str = '',
             progress: bool = True) -> None:
    """Fetch a file; an interrupted download goes on where it stopped.

    What has arrived lies in ``<path>.part``. If it turns out wrong after a
    download was gone on with, it is fetched once more from the beginning.

    Args:
        url (str): Its address.
        path (Path): Where it goes; left alone if it is there.
        md5 (str): Its checksum, if known.
        progress (bool): Whether to show a bar.

    Raises:
        ConfigError: If it cannot be fetched, or arrives damaged, or there
            is no room for it.
    """
    partial = path.with_name(path.name + '.part')
    check_regular(path)
    check_regular(partial)
    if os.path.isfile(path):
        return
    begun = os.path.isfile(partial) and os.path.getsize(partial) > 0
    try:
        os.makedirs(path.parent, exist_ok=True)
        with open(partial, 'ab') as file:
            receive(url, file, checked=bool(md5), progress=progress)
    except OSError as error:
        raise ConfigError(cannot_write(partial, error)) from error
    except UserError as error:
        if not os.path.getsize(partial):
            partial.unlink()
        raise ConfigError(f'cannot download {url} ({error}); fetch it by '
                          f'hand and put it at {path}') from error
    if md5:
        try:
            checksum(partial, md5, progress)
        except ConfigError:
            partial.unlink()
            if not begun:
                raise
            return download(url, path, md5, progress)
    partial.rename(path)


def checksum(path: Path, md5: str, progress: bool = True) -> None:
    """Compare a file's MD5 checksum.

    Raises:
        ConfigError: If it differs, or the path is that of a pipe or device.
    """
    check_regular(path)
    digest = hashlib.md5(usedforsecurity=False)
    with open(path, 'rb') as file, tqdm(
            total=path.stat().st_size, desc=f'checking {path.name}',
            unit='B', unit_scale=True, disable=not progress) as bar:
        while block := file.read(BLOCK):
            digest.update(block)
            bar.update(len(block))
    if digest.hexdigest() != md5:
        raise ConfigError(f'{path} has the MD5 checksum {digest.hexdigest()};'
                          f' expected {md5}: it is damaged or another file, '
                          'fetch it again')
