"""What every dataset's preparation has in common."""
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Dict, List, Optional, Tuple, Type

from mona_mm.errors import ConfigError

from .download import checksum, download
from .extract import extract
from .files import link, remove_leftovers


@dataclass(frozen=True)
class Archive:
    """A file to download.

    Args:
        name (str): Its name as downloaded.
        url (str): Where from; empty if it has to be asked for by hand.
        gigabytes (float): Its size, roughly.
        md5 (str): Its checksum; empty if its source publishes none.
        folder (str): Where under the dataset's folder its members go.
    """

    name: str
    url: str = ''
    gigabytes: float = 0.0
    md5: str = ''
    folder: str = ''


PREPARERS: Dict[str, Type['Preparer']] = {}


class Preparer:
    """One dataset: archives in, the layout of data/README.md out.

    Subclasses state their facts as class attributes, map members of archives
    to places (:meth:`place`), do what is left (:meth:`finish`), and list
    what is wrong with a layout (:meth:`check`).

    Args:
        out (str): The folder of all datasets.
        source (str, optional): The folder of the downloaded archives.
        expected (dict, optional): Replaces known totals, for parts of a
            dataset. Whoever does so gets no check of checksums either.
        progress (bool): Whether to show progress bars.

    Attributes:
        folder (str): Where the dataset goes, below ``out``.
        page (str): Where it comes from.
        licence (str): Its terms, in a word.
        by_hand (str): What to do where nothing can be downloaded.
        archives (tuple): The files to download.
        expected (dict): Known totals, and other facts to check.
    """

    name = ''
    folder = ''
    page = ''
    licence = ''
    by_hand = ''
    archives: Tuple[Archive, ...] = ()
    expected: Dict[str, object] = {}

    def __init_subclass__(cls) -> None:
        if cls.name:
            PREPARERS[cls.name] = cls

    def __init__(self, out: str = 'data', source: Optional[str] = None,
                 expected: Optional[dict] = None,
                 progress: bool = True) -> None:
        self.root = Path(out) / self.folder
        self.source = Path(source) if source else Path(out) / 'downloads'
        self.genuine = expected is None
        self.expected = dict(self.expected, **(expected or {}))
        self.progress = progress

    def place(self, archive: Archive, member: str) -> Optional[str]:
        """Return where a member goes under the root, or None to skip it."""
        return os.path.join(archive.folder, member)

    def finish(self) -> None:
        """Do what is left once everything is extracted."""

    def check(self) -> List[str]:
        """Return what is wrong with the prepared dataset."""
        raise NotImplementedError

    def download(self) -> None:
        """Fetch what is missing into the source folder.

        Raises:
            ConfigError: If a file has to be asked for by hand.
        """
        for archive in self.archives:
            if not archive.url:
                raise ConfigError(f'{self.name}: {archive.name} cannot be '
                                  f'downloaded from here. {self.by_hand}')
            download(archive.url, self.source / archive.name, archive.md5,
                     self.progress)

    def prepare(self) -> None:
        """Arrange the dataset; what is there already is left as it is.

        Raises:
            ConfigError: If an archive is missing, damaged or unsafe, or
                the disk too full.
        """
        remove_leftovers(self.root)
        there = os.path.isdir(self.source)  # a name may be too long to ask
        found = {a: next(iter(sorted(self.source.rglob(a.name))), None)
                 if there else None for a in self.archives}
        missing = [
            f'- {a.name} ({a.gigabytes:g} GB), '
            f'{a.url or f"by hand: {self.by_hand}"}'
            for a, path in found.items() if path is None]
        if missing:
            raise ConfigError('\n'.join([
                f'{self.name}: not found in {self.source}:', *missing,
                'Give their folder with --source, or fetch what has an '
                'address with --download']))
        for archive, path in found.items():
            if self.genuine and archive.md5:
                checksum(path, archive.md5, self.progress)
            if path.suffix in ('.zip', '.tar', '.gz', '.tgz'):
                extract(path, self.root, partial(self.place, archive),
                        self.progress)
            else:
                link(path, self.root / archive.folder / archive.name)
        self.finish()

    def verify(self) -> List[str]:
        """Return what is missing or wrong, one line each; [] if nothing."""
        if not os.path.isdir(self.root):
            return [f'{self.root} does not exist']
        return self.check()


def build(name: str, **kwargs) -> Preparer:
    """Return the preparer of a dataset.

    Args:
        name (str): A key of :data:`PREPARERS`.
        **kwargs: See :class:`Preparer`.

    Raises:
        ConfigError: If there is none of this name.
    """
    if name not in PREPARERS:
        raise ConfigError(f'dataset {name!r} is unknown; expected one of '
                          f'{", ".join(sorted(PREPARERS))}')
    return PREPARERS[name](**kwargs)
