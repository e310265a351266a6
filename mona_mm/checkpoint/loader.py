"""mmengine's checkpoint loading, through our reader.

Importing :mod:`mona_mm.checkpoint`, as building any of our models and reading
any of our runtime configs does, lets mmengine read every checkpoint of the
process this way: ``load_from``, ``resume``, ``init_detector``, inferencers.
:mod:`mona_mm.compat` says why and how to switch it off.
"""
import logging
from typing import Any, Dict

from mmengine.fileio import get_local_path
from mmengine.logging import print_log
from mmengine.runner import checkpoint as theirs

from mona_mm.compat import (
    mmcls_backbone,
    mmengine_home,
    read_checkpoints_with,
)
from mona_mm.errors import CheckpointError
from mona_mm.hub import UNPUBLISHED

from .cache import HUB, SHIPPED
from .embedded import objection
from .io import TRUST, read_checkpoint, trust, trusted


def install() -> None:
    """Let mmengine read every checkpoint with :func:`read_checkpoint`."""
    read_checkpoints_with({
        ('', SHIPPED): load_from_local,
        ('http://', 'https://', HUB): load_from_local,
        (r'(\S+\:)?s3://', r'(\S+\:)?petrel://'): load_from_ceph,
        ('modelzoo://', 'torchvision://'): load_from_torchvision,
        ('open-mmlab://', 'openmmlab://'): load_from_openmmlab,
        'mmcls://': load_from_mmcls,
        UNPUBLISHED: load_unpublished,
    })


def load_from_local(filename: str, map_location: Any = None) -> Dict:
    """Read a file, as mmengine's function of this name does.

    What an address names is downloaded once.
    """
    content = read_checkpoint(filename, map_location or 'cpu')
    if not trusted(filename):
        _leave_out_programs(content, filename)
    return content


def load_from_ceph(filename: str, map_location: Any = None) -> Dict:
    """Fetch a file of an object store, and read it."""
    with get_local_path(
            filename, backend_args=dict(backend='petrel')) as path:
        return load_from_local(_as_trusted(path, filename), map_location)


def load_from_torchvision(filename: str, map_location: Any = None) -> Dict:
    """Read a file of torchvision's model zoo, by its name there."""
    urls = theirs.get_torchvision_models()
    url = urls[filename.split('://', 1)[1]]
    return load_from_local(_as_trusted(url, filename), map_location)


def load_from_openmmlab(filename: str, map_location: Any = None) -> Dict:
    """Read a file of OpenMMLab's model zoo, by its name there."""
    name = filename.split('://', 1)[1]
    name = theirs.get_deprecated_model_names().get(name, name)
    url = theirs.get_external_models()[name]
    if not url.startswith(('http://', 'https://')):
        url = f'{mmengine_home()}/{url}'
    return load_from_local(_as_trusted(url, filename), map_location)


def load_from_mmcls(filename: str, map_location: Any = None) -> Dict:
    """Read the backbone in a file of mmcls' model zoo, by its name there."""
    url = theirs.get_mmcls_models()[filename.split('://', 1)[1]]
    return mmcls_backbone(
        load_from_local(_as_trusted(url, filename), map_location))


def load_unpublished(filename: str, map_location: Any = None) -> Dict:
    """Say that a model which was asked for by name has no weights to fetch.

    Raises:
        CheckpointError: Always.
    """
    name = filename.removeprefix(UNPUBLISHED)
    raise CheckpointError(
        f'nobody has published weights of {name}. Train it (tools/train.py), '
        'and name your checkpoint: weights=FILE in an inferencer, '
        'pretrained=FILE in get_model')


def _as_trusted(found: str, named: str) -> str:
    """A path or URL, trusted if the user vouched for what stands for it."""
    if trusted(named):
        trust(found)
    return found


def _leave_out_programs(content: Dict, filename: str) -> None:
    """Drop the configs in a file that could run anything.

    Whoever builds a model from the config in a checkpoint runs that config.
    """
    hub = content.get('message_hub')
    places = [
        content.get('meta'),
        hub.get('runtime_info') if isinstance(hub, dict) else None
    ]
    told = set()
    for place in filter(lambda p: isinstance(p, dict), places):
        for key in ('cfg', 'config'):
            if key not in place:
                continue
            text = place[key]
            why = objection(text) if isinstance(text, str) else (
                f'it is a {type(text).__name__}')
            if why:
                del place[key]
                told.add(why)
    for why in sorted(told):
        print_log(
            f'{filename}: the config in it is left out, because {why}. '
            'Whatever asks for a config needs it as a file of your own; if '
            f'you trust this one, set {TRUST}=1', logger='current',
            level=logging.WARNING)
