"""Is the installed stack one that works? Imports nothing of it by itself."""
import re
import subprocess
import sys
from importlib import metadata
from typing import Dict, Iterator, List, Mapping, NamedTuple, Tuple

from .finding import NOTE, OK, WRONG, Finding

#: Import name: the distributions that provide it, maintained ones first.
DISTRIBUTIONS = {
    'torch': ('torch', ),
    'torchvision': ('torchvision', ),
    'mmengine': ('onedl-mmengine', 'mmengine'),
    'mmcv': ('onedl-mmcv', 'mmcv', 'mmcv-full', 'mmcv-lite'),
    'mmdet': ('onedl-mmdetection', 'mmdet'),
    'mmseg': ('onedl-mmsegmentation', 'mmsegmentation'),
    'mmpretrain': ('onedl-mmpretrain', 'mmpretrain'),
    'mmrotate': ('onedl-mmrotate', 'mmrotate'),
    'numpy': ('numpy', ),
    'cv2': ('opencv-python', 'opencv-python-headless',
            'opencv-contrib-python'),
}
_INSTALL = 'run tools/install.sh'
Version = Tuple[int, ...]


class Rule(NamedTuple):
    """A combination that is known not to work.

    Attributes:
        when (dict[str, str]): Distribution: condition on its version, such as
            ``'>=2.2'`` or ``'any'``. All have to hold.
        why (str): What happens then, and what to do.
    """
    when: Mapping[str, str]
    why: str


RULES = (
    Rule({'mmdet': '<=3.3.0', 'mmcv': '>=2.2'},
         'mmdet 3.3 refuses mmcv 2.2 and later: use the onedl- packages of '
         'requirements.txt'),
    Rule({'mmrotate': 'any', 'mmdet': '>=3.2'},
         'the original mmrotate refuses mmdet after 3.1: use the onedl- '
         'packages of requirements.txt'),
    Rule({'mmengine': '<=0.10.7', 'torch': '>=2.6'},
         'mmengine 0.10.7 cannot read its own checkpoints with torch 2.6 and '
         'later: use onedl-mmengine'),
    Rule({'mmcv-lite': 'any'},
         'mmcv-lite has no compiled ops: use onedl-mmcv'),
    Rule({'imaug': 'any', 'opencv-python': '>=4.13'},
         'imaug needs opencv-python before 4.13'),
    Rule({'opencv-python': '<4.13', 'numpy': '>=2.3'},
         'opencv-python 4.12 needs numpy before 2.3'),
    Rule({'torch': '>=2.12', 'torchvision': '<=0.26'},
         'torchvision 0.26 is built for torch 2.11: its ops do not load'),
    Rule({'torch': '<2.11', 'torchvision': '>=0.26'},
         'torchvision 0.26 is built for torch 2.11: its ops do not load'),
    Rule({'setuptools': '>=82', 'torch': '==2.11'},
         'torch 2.11 needs setuptools before 82'),
)
#: Present, they make mmpretrain import its multimodal models, which fails.
_INTRUDERS = ('peft', 'transformers')


def check_stack() -> Iterator[Finding]:
    """Look at versions, known-bad combinations, compiled ops and the GPU."""
    found = installed()
    yield _python(sys.version_info[:3])
    for name, distributions in DISTRIBUTIONS.items():
        yield _version(name, [d for d in distributions if d in found], found)
    yield from known_bad(found)
    yield from _trials()


def installed() -> Dict[str, str]:
    """Versions of the distributions that matter here, by name."""
    names = {n for group in DISTRIBUTIONS.values() for n in group}
    names |= {n for rule in RULES for n in rule.when} | set(_INTRUDERS)
    versions = {}
    for name in sorted(names):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def known_bad(found: Mapping[str, str]) -> Iterator[Finding]:
    """Name the combinations that do not work.

    Args:
        found (Mapping[str, str]): Versions by distribution.
    """
    for rule in RULES:
        if all(name in found and _holds(found[name], condition)
               for name, condition in rule.when.items()):
            held = ', '.join(f'{n} {found[n]}' for n in rule.when)
            yield Finding(WRONG, 'combination', f'{held}: {rule.why}')
    for name in _INTRUDERS:
        if name in found:
            yield Finding(
                NOTE, 'combination', f'{name} {found[name]} is installed: '
                'mmpretrain then imports its multimodal models, and some '
                'versions break that; see whether mmpretrain imports, below')


def _python(version: Version) -> Finding:
    text = '.'.join(map(str, version))
    if (3, 10) <= tuple(version[:2]) <= (3, 12):
        return Finding(OK, 'python', text)
    return Finding(WRONG, 'python', f'{text}: 3.10, 3.11 or 3.12 is needed '
                   '(make PYTHON=python3.11 install)')


def _version(name: str, present: List[str],
             found: Mapping[str, str]) -> Finding:
    if not present:
        return Finding(WRONG, name, f'not installed: {_INSTALL}')
    told = ', '.join(f'{d} {found[d]}' for d in present)
    if len(present) > 1 and name != 'cv2':
        return Finding(WRONG, name, f'{told}: they overwrite each other; '
                       f'uninstall all of them and {_INSTALL}')
    versions = {found[d] for d in present}
    if len(versions) > 1:
        return Finding(WRONG, name, f'{told}: two versions in one folder; '
                       'uninstall both and install one')
    return Finding(OK, name, told)


def _holds(version: str, condition: str) -> bool:
    if condition == 'any':
        return True
    sign, bound = re.match(r'([<>=]+)(.+)', condition).groups()
    own, limit = _numbers(version), _numbers(bound)
    if sign == '==':
        return own[:len(limit)] == limit
    own, limit = (v + (0, ) * (4 - len(v)) for v in (own, limit))
    return {'<': own < limit, '<=': own <= limit, '>=': own >= limit}[sign]


def _numbers(version: str) -> Version:
    return tuple(int(n) for n in re.findall(r'\d+', version.split('+')[0])[:4])


#: What each child process tries; it prints what to report.
_TRIES = {
    'torchvision': (
        'import torch, torchvision\n'
        'box = torch.tensor([[0., 0., 9., 9.]])\n'
        'torchvision.ops.nms(box, torch.ones(1), .5)\n'
        'print("its compiled ops run")'),
    'mmcv ops': (
        'from mona_mm.doctor.ops import check_ops\n'
        'print(check_ops())'),
    'libraries': (
        'import mona_mm, mmdet.models, mmseg.models, mmpretrain.models\n'
        'import mmrotate.models, mona_mm.backbones, mona_mm.engine\n'
        'print("mmdet, mmseg, mmpretrain, mmrotate and mona_mm import")'),
    'gpu': (
        'import torch\n'
        'if not torch.cuda.is_available():\n'
        '    print("none: recipes run on the CPU in float32", end="")\n'
        'else:\n'
        '    for i in range(torch.cuda.device_count()):\n'
        '        p = torch.cuda.get_device_properties(i)\n'
        '        print(f"{p.name}, {p.total_memory / 2**30:.0f} GiB, CUDA "\n'
        '              f"{torch.version.cuda}, bfloat16 "\n'
        '              f"{torch.cuda.is_bf16_supported()}")'),
}


def _trials() -> Iterator[Finding]:
    """Try things in processes of their own: a bad library may crash."""
    for subject, code in _TRIES.items():
        done = subprocess.run([sys.executable, '-W', 'ignore', '-c', code],
                              capture_output=True, text=True)
        if done.returncode == 0:
            told = done.stdout.strip().splitlines()
            level = NOTE if told and told[-1].startswith('none') else OK
            yield Finding(level, subject, '\n'.join(told[-8:]))
        else:
            last = done.stderr.strip().splitlines()[-1:] or [
                f'the process ended with {done.returncode}']
            yield Finding(WRONG, subject, f'{last[0]}: {_INSTALL}')
