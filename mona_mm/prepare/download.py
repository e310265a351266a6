"""Fetching files, where the user asks for it."""
import hashlib
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

from tqdm import tqdm

from mona_mm.errors import ConfigError

BLOCK = 1 << 20


def download(url: str, path: Path, md5: str = '',
             progress: bool = True) -> None:
    """Fetch a file; an interrupted download goes on where it stopped.

    Args:
        url (str): Its address.
        path (Path): Where it goes; left alone if it is there.
        md5 (str): Its checksum, if known.
        progress (bool): Whether to show a bar.

    Raises:
        ConfigError: If it cannot be fetched, or arrives damaged.
    """
    if path.is_file():
        return
    partial = path.with_name(path.name + '.part')
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        _fetch(url, partial, progress)
    except (URLError, OSError) as error:
        raise ConfigError(f'cannot download {url} ({error}); fetch it by '
                          f'hand and put it at {path}') from error
    if md5:
        try:
            checksum(partial, md5, progress)
        except ConfigError:
            partial.unlink()
            raise
    partial.rename(path)


def checksum(path: Path, md5: str, progress: bool = True) -> None:
    """Compare a file's MD5 checksum.

    Raises:
        ConfigError: If it differs.
    """
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


def _fetch(url: str, partial: Path, progress: bool) -> None:
    there = partial.stat().st_size if partial.exists() else 0
    request = Request(url, headers={'Range': f'bytes={there}-'} if there
                      else {})
    with urlopen(request, timeout=60) as reply:
        if there and reply.status != 206:
            there = 0  # the server begins anew
        size = int(reply.headers.get('Content-Length') or 0)
        with open(partial, 'ab' if there else 'wb') as file, tqdm(
                total=there + size or None, initial=there, unit='B',
                unit_scale=True, desc=partial.stem,
                disable=not progress) as bar:
            while block := reply.read(BLOCK):
                file.write(block)
                bar.update(len(block))
    if size and partial.stat().st_size != there + size:
        raise OSError(f'{partial.stat().st_size} of {there + size} bytes')
