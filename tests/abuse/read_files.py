"""Read files as checkpoints, one after the other, and say what became of each.

The process that reads them is a child of a test: one of them may crash it.
"""
import copy
import pickle
import signal
import sys
import warnings
from pathlib import Path

#: What a file would do that runs something; as Python reports it.
WATCHED = ('os.', 'subprocess.', 'shutil.', 'socket.', 'ctypes.', 'exec',
           'compile', 'import', 'webbrowser.', 'urllib.')
SECONDS = 20
#: Bytes of address space that reading may take beyond so many times the file.
EXTRA, TIMES = 192 << 20, 300
events = []
watching = False


def watch(event: str, arguments: tuple) -> None:
    """Note what happens while a file is read."""
    written = event == 'open' and str(arguments[1]) not in ('r', 'rb')
    if watching and (event.startswith(WATCHED) or written):
        events.append(f'{event} {arguments!r:.80}')


def peak() -> int:
    """The most address space that this process has had, in bytes."""
    text = Path('/proc/self/status').read_text()
    return int(text.split('VmPeak:')[1].split()[0]) << 10


def use(content) -> None:
    """Copy, save and show what came out of a file."""
    copy.deepcopy(content)
    pickle.dumps(content)
    for value in content.values():
        repr(value)[:100]


def main() -> None:
    """One line a file: its name, and what became of it."""
    global watching
    from mona_mm.checkpoint import read_checkpoint
    from mona_mm.errors import CheckpointError
    warnings.simplefilter('ignore')
    read_checkpoint(sys.argv[1])  # an ordinary one: what is lazy is imported
    use(read_checkpoint(sys.argv[1]))
    for codec in ('cp437', 'utf-32-le', 'latin1'):
        'a'.encode(codec)
    sys.addaudithook(watch)
    for path in sys.argv[2:]:
        before = peak()
        print(Path(path).name, end=' ', flush=True)
        signal.alarm(SECONDS)
        events.clear()
        watching = True
        try:
            content = read_checkpoint(path)
            fate = 'read'
        except CheckpointError as error:
            fate = 'refused' if path in str(error) else f'unnamed: {error}'
        watching = False
        if fate == 'read':
            use(content)
            del content
        signal.alarm(0)
        grown = peak() - before
        if grown > EXTRA + TIMES * Path(path).stat().st_size:
            fate = f'blew up by {grown >> 20} MiB'
        if events:
            fate = f'ran {events[0]}'
        print(fate.replace('\n', ' '), flush=True)


if __name__ == '__main__':
    main()
