"""What a checkpoint says about itself: the record beside its tensors.

A record lies in ``state_dict._metadata[<path of the backbone>]['mona_mm']``:
of all that a file holds, this alone reaches the backbone through every
loader, as the ``local_metadata`` of its pre-hook. The metadata of the whole
model (path ``''``) has another, under ``'mona_mm_file'``, about all tensors.
"""
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import (
    Any,
    Dict,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
)

from torch import Tensor

from mona_mm.compat import metadata_of
from mona_mm.errors import CheckpointError

from .digest import joined, remember, tensor_digests

#: Of the record's layout; a reader refuses later ones.
FORMAT = 1
KEY, FILE_KEY = 'mona_mm', 'mona_mm_file'
#: {stored digests: file}, of the last files read.
_sources: Dict[Tuple[str, ...], str] = {}
_PACKAGES = ('torch', 'onedl-mmengine', 'onedl-mmcv', 'onedl-mmdetection',
             'onedl-mmsegmentation', 'onedl-mmpretrain', 'onedl-mmrotate')


class Base(NamedTuple):
    """Which pretrained base stands under a delta.

    Attributes:
        source (str): The path or URL that it was loaded from.
        prefix (str | None): Where the backbone is in that file.
        map_final_norm (bool): Whether its final norm was taken over.
        sha256 (str): Digest of all frozen tensors, by name, in float32.
    """
    source: str
    prefix: Optional[str]
    map_final_norm: bool
    sha256: str


class Record(NamedTuple):
    """What a checkpoint says about one tuned backbone in it.

    Attributes:
        tuner (dict): The tuner's type and arguments.
        backbone (dict): What the backbone computes, beyond shapes.
        base (Base | None): The base that belongs under it; none if the
            checkpoint holds all of the backbone.
        stored (tuple[str, ...]): Digests, one of which the backbone's
            tensors in the checkpoint have: its own, and that of the averaged
            or plain twin beside it, because EMAHook swaps the two.
    """
    tuner: Dict[str, Any]
    backbone: Dict[str, Any]
    base: Optional[Base]
    stored: Tuple[str, ...]

    def to_dict(self) -> Dict[str, Any]:
        """As plain data, for the file."""
        return dict(
            self._asdict(),
            format=FORMAT,
            base=self.base and self.base._asdict(),
            stored=list(self.stored))


def read_record(metadata: Mapping[str, Any]) -> Optional[Record]:
    """Find the record in a backbone's metadata; it may come from anyone.

    Raises:
        CheckpointError: If it is of a later format, or broken.
    """
    found = metadata.get(KEY)
    if found is None:
        return None
    _check_format(found)
    try:
        base = None if found['base'] is None else Base(**found['base'])
        kinds = (str, (str, type(None)), bool, str)
        if base and not all(map(isinstance, base, kinds)):
            raise TypeError(f'unexpected values in {found["base"]!r}')
        record = Record(dict(found['tuner']), dict(found['backbone']),
                        base, tuple(found['stored']))
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError('the record of its tuner and base is broken '
                              f'({type(error).__name__}: {error})') from error
    if not all(isinstance(s, str) for s in record.stored):
        raise CheckpointError('the record of its tensors is broken: '
                              f'{record.stored!r} are no digests')
    return record


def needs_base(state: Any) -> Optional[Base]:
    """The base that a state dict leaves out, if it leaves one out."""
    found = (r.base for r in records(state).values())
    return next(filter(None, found), None)


def records(state: Any) -> Dict[str, Record]:
    """All records of a state dict: {path of the backbone: its record}."""
    metadata = metadata_of(state)
    found = {path: read_record(entry) for path, entry in metadata.items()}
    return {path: record for path, record in found.items() if record}


def _check_format(found: Any) -> None:
    number = found.get('format') if isinstance(found, dict) else found
    if not isinstance(number, int):
        raise CheckpointError('the record in it is broken: expected a dict '
                              f"with a 'format', but got {found!r:.80}")
    if number != FORMAT:
        raise CheckpointError(
            f'its record is of format {number}, but this version of mona_mm '
            f'reads format {FORMAT}: update mona_mm')


def file_record(tensors: int, digests: Sequence[str],
                config: Optional[str] = None) -> Dict[str, Any]:
    """Describe all tensors of a state dict.

    Args:
        tensors (int): How many there are.
        digests (Sequence[str]): One of these is theirs.
        config (str, optional): The config that it was trained with.
    """
    return dict(
        format=FORMAT,
        tensors=tensors,
        sha256=list(digests),
        versions=_versions(),
        config=config)


def check_state(state: Any, source: str) -> None:
    """Check a state dict that was just read, and note where it is from.

    Tensors that were taken out on purpose are the loader's to notice; all
    others must be as written.

    Raises:
        CheckpointError: If a tensor is not what was saved.
    """
    for name, value in getattr(state, '__dict__', {}).items():
        if name != '_metadata' or not isinstance(value, dict) or not all(
                isinstance(k, str) and isinstance(v, dict)
                for k, v in value.items()):
            raise CheckpointError(f'its state dict is broken: {name}')
    metadata = metadata_of(state)
    for found in records(state).values():
        _sources[found.stored] = f'checkpoint {source!r}'
    while len(_sources) > 64:
        _sources.pop(next(iter(_sources)))
    record = metadata.get('', {}).get(FILE_KEY)
    if record is None:
        return
    _check_format(record)
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise CheckpointError(f'{name!r} in its state dict is a '
                                  f'{type(value).__name__}, no tensor')
        size = value.numel() * value.element_size()
        if value.is_sparse or size > value.untyped_storage().nbytes():
            raise CheckpointError(f'{name} in its state dict claims to be '
                                  'larger than what is stored')
    if not isinstance(record.get('tensors'), int) or not isinstance(
            record.get('sha256'), list):
        raise CheckpointError('the record of its tensors is broken')
    if len(state) < record['tensors']:
        return
    digests = tensor_digests(state)
    if joined(digests) not in record['sha256']:
        raise CheckpointError(
            'it is damaged or was changed: its tensors are not the ones that '
            'were saved; fetch it again')
    remember(state, digests)


def source_of(record: Record) -> str:
    """Name the file that a record was read from, for messages."""
    return _sources.get(record.stored, 'the checkpoint')


@lru_cache
def _versions() -> Dict[str, str]:
    from mona_mm import __version__
    found = dict(mona_mm=__version__)
    for package in _PACKAGES:
        for name in (package, package.removeprefix('onedl-')):
            try:
                found[name] = version(name)
                break
            except PackageNotFoundError:
                continue
    return found
