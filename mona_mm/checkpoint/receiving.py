"""Receiving files from servers, which may answer anything.

torch.hub and torchvision take what came before a lost connection for the
whole file, wait for ever and do not go on; hence our own.
"""
import os
import re
from http.client import HTTPException, HTTPResponse
from typing import IO, Optional
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from tqdm import tqdm

from mona_mm.errors import UserError
from mona_mm.text import FULL, free_bytes, mib

#: Seconds that a server may keep silent.
TIMEOUT = 30
_BLOCK = 1 << 20


def receive(url: str, file: IO[bytes], checked: bool = False,
            progress: bool = True) -> None:
    """Write what a URL holds to a file that is open for appending.

    What the file holds already is taken for the beginning, and only the rest
    is asked for; a server that cannot go on from there is asked for all.

    Args:
        url (str): An http(s) address.
        file (IO): Opened with ``'ab'``.
        checked (bool): Whether the caller compares a checksum afterwards. If
            not, a file is taken for complete only if the server says how
            long it is.
        progress (bool): Whether to show a bar.

    Raises:
        UserError: If the address or the answer is malformed, the server
            refuses or keeps silent, the file arrives incomplete or empty, or
            the disk has no room for it.
        OSError: If the disk is full while it is written.
    """
    try:
        check_url(url)
        reply = _ask(url, file.tell(), checked)
        if reply is not None:
            with reply:
                _copy(url, reply, file, progress)
    except (HTTPException, ValueError) as error:
        raise UserError(f'{type(error).__name__}: {error}') from error
    except OSError as error:
        if error.errno in FULL:
            raise
        raise UserError(str(error)) from error


def check_url(url: str) -> None:
    """Raise ValueError if a text is no http(s) address of a file."""
    if not url.isprintable() or ' ' in url:
        raise ValueError('it has a blank or a control character')
    parts = urlsplit(url)
    name = os.path.basename(parts.path)
    if parts.scheme not in ('http', 'https') or not parts.hostname:
        raise ValueError('expected http(s)://host/path')
    if parts.port == 0 or name in ('', '.', '..'):  # .port may raise, too
        raise ValueError('the address names no file')


def _ask(url: str, there: int, checked: bool) -> Optional[HTTPResponse]:
    """Ask for what lacks: from ``there`` on or all; None if nothing does."""
    if there:
        try:
            reply = _open(url, {'Range': f'bytes={there}-'})
        except HTTPError as error:
            if error.code != 416:  # range not satisfiable
                raise
            size = _range(error.headers, r'\*/(\d+)')
            if size == there or (size is None and checked):
                return None
        else:
            begin = _range(reply.headers, r'(\d+)-\d+/')
            if reply.status == 200 or begin == there:
                return reply
            reply.close()
    return _open(url, {})


def _open(url: str, headers: dict) -> HTTPResponse:
    reply = urlopen(Request(url, headers=headers), timeout=TIMEOUT)
    if reply.status not in (200, 206 if headers else 200):
        reply.close()
        raise UserError(f'the server answers with status {reply.status}')
    return reply


def _range(headers, pattern: str) -> Optional[int]:
    """A number of Content-Range: ``bytes 5-9/10``, ``bytes */10``."""
    found = re.match(rf'bytes {pattern}', headers.get('Content-Range') or '')
    return found and int(found[1])


def _copy(url: str, reply: HTTPResponse, file: IO[bytes],
          progress: bool) -> None:
    if reply.status == 200:
        file.truncate(0)
        file.seek(0)
    there, got, room = file.tell(), 0, free_bytes(file.name)
    if reply.length is not None and reply.length > room:
        raise UserError(
            f'it needs {mib(reply.length)} in {os.path.dirname(file.name)}, '
            f'where {mib(room)} are free: free some space')
    total = None if reply.length is None else there + reply.length
    with tqdm(total=total, initial=there, unit='B', unit_scale=True,
              desc=url.rsplit('/', 1)[-1], disable=not progress) as bar:
        while block := reply.read(_BLOCK):
            bar.update(len(block))
            got += len(block)
            if reply.length is None and got > .9 * room:
                file.truncate(0)
                raise UserError(
                    'the server does not say how much it sends, and sent '
                    f'more than nine tenths of the {mib(room)} that are free '
                    f'in {os.path.dirname(file.name)}')
            file.write(block)
    if reply.length:
        raise UserError(f'the connection ended {reply.length} bytes early')
    if not there + got:
        raise UserError('the answer is empty')
