"""mmcv's wheel, built once and used on every machine that fits.

Compiling mmcv's ops is most of an installation. A wheel's own name does not
say which torch it was compiled against, so wheels lie in a folder for each
stack, beside a list of their hashes::

    DIR/torch2.11.0-cpu/onedl_mmcv-2.3.6-cp311-cp311-linux_x86_64.whl
    DIR/torch2.11.0-cpu/SHA256SUMS

``DIR`` may be a folder or the address of one on a server. Where a server
has no folders (the files of a release), ``torch2.11.0-cpu.SHA256SUMS`` and so
on do. Everything here
runs before anything but torch is installed, on Python's own library and tqdm.
"""
import hashlib
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Optional, Sequence
from urllib.error import URLError
from urllib.request import urlopen

from mona_mm.errors import UserError
from mona_mm.text import write_atomically

SUMS = 'SHA256SUMS'
#: What ninja says of each object: ``[12/85] c++ ...``.
_OBJECT = re.compile(r'^\s*\[(\d+)/(\d+)\]')
_TIMEOUT = 30  # seconds without a byte from a server


def stack(cuda: bool) -> str:
    """What a compiled wheel depends on: ``'torch2.11.0-cpu'``, ``-cu130``.

    Args:
        cuda (bool): Whether the ops are compiled for CUDA, too.

    Raises:
        UserError: If torch is missing, or CUDA ops are asked for and this
            torch was built without CUDA.
    """
    try:
        import torch
    except ImportError as error:
        raise UserError('torch is not installed, and mmcv is compiled '
                        'against it: pip install torch first (tools/'
                        'install.sh does)') from error
    version = torch.__version__.partition('+')[0]
    if not cuda:
        return f'torch{version}-cpu'
    if torch.version.cuda is None:
        raise UserError(f'torch {torch.__version__} was built without CUDA, '
                        'so mmcv cannot be built with CUDA ops against it')
    return f'torch{version}-cu{torch.version.cuda.replace(".", "")}'


def build(requirement: str, out: Path, archs: Sequence[str] = (),
          jobs: Optional[int] = None, fresh: bool = True) -> Path:
    """Build mmcv's wheel, and show how many objects are done.

    Args:
        requirement (str): Such as ``onedl-mmcv==2.3.6``.
        out (Path): The folder of all stacks.
        archs (Sequence[str]): CUDA architectures, such as ``8.0`` and
            ``9.0``; needs nvcc, and no GPU. Without any, CPU ops.
        jobs (int, optional): Objects compiled at once. Defaults to mmcv's
            choice.
        fresh (bool): Build even if pip has a wheel of it in its cache (which
            may be made for another torch). Defaults to True.

    Returns:
        Path: The wheel; its hash stands in ``SHA256SUMS`` beside it.

    Raises:
        UserError: If an argument makes no sense or the build fails; the
            whole output of the build is kept in a file that is named.
    """
    wrong = [a for a in archs
             if not re.fullmatch(r'\d+\.\d[a-z]?(\+PTX)?', a)]
    if wrong:
        raise UserError(f'--cuda-archs: {", ".join(wrong)} is no architecture;'
                        ' expected such as 8.0 9.0')
    folder = Path(out) / stack(bool(archs))
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / 'build.log'
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        command = [sys.executable, '-m', 'pip', 'wheel', '-v',
                   '--disable-pip-version-check', '--no-build-isolation',
                   '--no-deps', '-w', scratch, requirement]
        if fresh:
            command.insert(-1, '--no-cache-dir')
        status = _run(command, _environment(archs, jobs), log)
        made = sorted(Path(scratch).glob('*.whl'))
        if status or len(made) != 1:
            errors = [line for line in log.read_text(
                errors='replace').splitlines()
                if re.search(r'\w*error\b.*:', line, re.IGNORECASE)]
            raise UserError(
                f'{requirement} was not built (pip ended with {status}); the '
                f'whole output is in {log}. Errors in it:\n'
                + '\n'.join(errors[:12]))
        wheel = folder / made[0].name
        os.replace(made[0], wheel)
    listed = folder / SUMS
    sums = _sums(listed.read_text() if listed.exists() else '')
    sums[wheel.name] = hashlib.sha256(wheel.read_bytes()).hexdigest()
    with write_atomically(listed) as path:
        Path(path).write_text(
            ''.join(f'{h}  {n}\n' for n, h in sorted(sums.items())))
    return wheel


def fetch(requirement: str, source: str, into: Path) -> Path:
    """Find a wheel for this Python and this torch, and check its hash.

    One with CUDA ops is taken first, and nothing else where there is a GPU:
    such a wheel works on a login node without one, too.

    Args:
        requirement (str): Such as ``onedl-mmcv==2.3.6``.
        source (str): A folder of all stacks, or its http(s) or file address.
        into (Path): Folder for what comes from a server.

    Returns:
        Path: The wheel.

    Raises:
        UserError: If there is none, it cannot be reached, or its hash is
            another one; then mmcv has to be built.
    """
    import torch
    kinds = [stack(True)] if torch.version.cuda else []
    if not torch.cuda.is_available():
        kinds.append(stack(False))
    starts = [f'{source.rstrip("/")}/{kind}{between}'
              for kind in kinds for between in '/.']
    for place in starts:
        try:
            sums = _sums(_read(place + SUMS).decode('utf-8', 'replace'))
            break
        except UserError:
            if place == starts[-1]:
                raise
    name, version = requirement.replace('-', '_').split('==')
    tag = f'cp{sys.version_info[0]}{sys.version_info[1]}'
    platform = re.sub(r'[-.]', '_', sysconfig.get_platform())
    start = f'{name}-{version}-{tag}-{tag}-'
    # manylinux tags end in the machine, as the platform does.
    machine = platform.rpartition('x86_64')[1] or platform.rsplit('_', 1)[-1]
    fits = [n for n in sums if n.startswith(start)
            and n.endswith(f'{machine}.whl') and '/' not in n]
    if not fits:
        raise UserError(f'{place}*: no wheel {start}*{machine}.whl; there are '
                        f'{", ".join(sorted(sums)) or "none"}')
    content = _read(f'{place}{fits[0]}')
    found = hashlib.sha256(content).hexdigest()
    if found != sums[fits[0]]:
        raise UserError(f'{place}{fits[0]}: its sha256 is {found}, and '
                        f'{SUMS} says {sums[fits[0]]}')
    wheel = Path(into) / fits[0]
    wheel.write_bytes(content)
    return wheel


def _environment(archs: Sequence[str], jobs: Optional[int]) -> dict:
    """The build's environment: ops on, CUDA by the architectures alone.

    torch looks for ninja on the path, where an environment that is not
    activated has none; without it one object is compiled after another, and
    none is counted.
    """
    found = dict(os.environ, MMCV_WITH_OPS='1', PATH=os.pathsep.join(
        [sysconfig.get_path('scripts'), os.environ.get('PATH', os.defpath)]))
    if archs:
        found.update(FORCE_CUDA='1', TORCH_CUDA_ARCH_LIST=';'.join(archs))
    else:
        found.update(FORCE_CUDA='0', CUDA_VISIBLE_DEVICES='')
    if jobs:
        found['MAX_JOBS'] = str(jobs)
    return found


def _run(command: Sequence[str], environment: dict, log: Path) -> int:
    """Run a build and keep its output; draw the objects done of all.

    Returns:
        int: Its status.
    """
    from tqdm import tqdm
    with open(log, 'w', encoding='utf-8') as file, subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True,
            errors='replace') as process, ExitStack() as drawn:
        bar = None
        for line in process.stdout:
            file.write(line)
            if found := _OBJECT.match(line):
                done, total = map(int, found.groups())
                if bar is None or bar.total != total:
                    drawn.close()
                    bar = drawn.enter_context(tqdm(
                        total=total, unit='object', mininterval=5,
                        desc="mmcv's ops"))
                bar.update(done - bar.n)
        return process.wait()


def _sums(text: str) -> dict:
    """``{name: sha256}`` of what sha256sum writes."""
    pairs = (line.split() for line in text.splitlines())
    return {p[1].lstrip('*'): p[0] for p in pairs if len(p) == 2}


def _read(place: str) -> bytes:
    try:
        if re.match(r'(https?|file)://', place):
            with urlopen(place, timeout=_TIMEOUT) as reply:
                return reply.read()
        return Path(place).read_bytes()
    except (URLError, OSError, ValueError) as error:
        raise UserError(f'{place} cannot be read: {error}') from error
