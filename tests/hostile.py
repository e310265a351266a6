"""Servers and limits that are not as they should be."""
import os
import resource
import signal
import socket
import socketserver
from contextlib import contextmanager
from threading import Event, Thread


@contextmanager
def serve(answer):
    """Answer every request with bytes, raw, and hang up.

    Args:
        answer (bytes | Callable): The bytes; or maps the request's text to
            bytes, to pieces of them, or to None to keep silent.

    Yields:
        tuple[str, list[str]]: An address that ends with ``/``, and the
        requests so far.
    """
    asked, over = [], Event()

    class Handler(socketserver.BaseRequestHandler):

        def handle(self):
            request = self.request.recv(1 << 16).decode('latin-1')
            asked.append(request)
            reply = answer(request) if callable(answer) else answer
            try:
                if reply is None:
                    over.wait(60)
                for piece in [reply] if isinstance(reply, bytes) else reply:
                    self.request.sendall(piece)
            except (OSError, TypeError):
                pass  # the other side had enough

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = daemon_threads = True
        block_on_close = False

    with Server(('127.0.0.1', 0), Handler) as server:
        Thread(target=server.serve_forever, args=(.05, ),
               daemon=True).start()
        yield f'http://127.0.0.1:{server.server_address[1]}/', asked
        over.set()
        server.shutdown()


def reply(body=b'', status='200 OK', length=True, **headers) -> bytes:
    """An answer; in names of headers ``_`` stands for ``-``."""
    lines = [f'HTTP/1.1 {status}', 'Connection: close']
    lines += [f'{k.replace("_", "-")}: {v}' for k, v in headers.items()]
    if length:
        lines.append(f'Content-Length: {len(body)}')
    return '\r\n'.join([*lines, '', '']).encode() + body


def ranged(body: bytes):
    """The answers of a server that can go on from anywhere."""

    def answer(request):
        first = [line for line in request.split('\r\n')
                 if line.lower().startswith('range: bytes=')]
        if not first:
            return reply(body)
        start = int(first[0].split('=')[1].rstrip('-'))
        if start >= len(body):
            return reply(status='416 Range Not Satisfiable',
                         Content_Range=f'bytes */{len(body)}')
        last = len(body) - 1
        return reply(body[start:], '206 Partial Content',
                     Content_Range=f'bytes {start}-{last}/{len(body)}')

    return answer


@contextmanager
def small_files(limit: int):
    """Refuse files of more than ``limit`` bytes, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


class Hung(BaseException):
    """What no handler of errors takes for one of its own."""


@contextmanager
def at_most(seconds: int):
    """Raise Hung where something hangs."""

    def late(*args):
        raise Hung(f'for {seconds} seconds')

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def put_special(kind: str, path) -> None:
    """Put something there that is no regular file."""
    if kind == 'pipe':
        os.mkfifo(path)
    elif kind == 'socket':
        with socket.socket(socket.AF_UNIX) as end:
            end.bind(str(path))
    elif kind == 'device':
        os.symlink('/dev/zero', path)
    else:
        os.mkdir(path)


SPECIAL = ('pipe', 'socket', 'device', 'folder')


def show(kind: str, outcome: dict) -> None:
    """Print what became of the inputs of a kind, as a table of one row."""
    print()
    for row in [('', *outcome), (kind, *outcome.values())]:
        print(f'{row[0]:22}' + ''.join(f'{cell!s:>10}' for cell in row[1:]))
