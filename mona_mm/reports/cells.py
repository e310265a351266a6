"""The cells of the paper's tables, as the metafiles hold them."""
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, Iterable, List, Optional, Tuple

import yaml

from mona_mm.errors import ConfigError
from mona_mm.ledger.naming import parse

ROOT = Path(__file__).resolve().parents[2]
#: libyaml's, ten times as fast, where it is there.
_LOADER = getattr(yaml, 'CSafeLoader', yaml.SafeLoader)
#: What the tables are. 1 to 5 are numbered as in arXiv 2311.15010; its later
#: version, arXiv 2408.08345, alone has the three after them.
TABLES = {
    'Table 1': 'instance segmentation, COCO',
    'Table 2': 'detection on Pascal VOC, semantic segmentation on ADE20K',
    'Table 3': 'image classification',
    'Table 4': 'the bottleneck of Mona (64 where nothing is said)',
    'Table 5': 'backbones of other sizes, Pascal VOC',
    'Structure ablation': ('filters and norm of Mona, Pascal VOC (arXiv '
                           '2408.08345)'),
    'DOTA and STAR': 'oriented detection (arXiv 2408.08345)',
    'Other backbones': ('PVT, Pascal VOC (arXiv 2408.08345); no config '
                       'here'),
    'Others': 'benchmarks on which others report Mona',
}


@dataclass(frozen=True)
class Cell:
    """One config and what is published for it.

    Args:
        name (str): The config's stem.
        config (str): Relative to the project; empty if there is none.
        model (str): Detector, segmentor or classifier.
        backbone (str): ``'Swin-L'``, for example.
        dataset (str): What it trains on.
        method (str): As the paper writes it.
        variant (str): What is different from the method's own cell.
        tables (tuple[str]): Where the paper has it, or where it belongs.
        metrics (tuple[str]): What it is measured by.
        published (dict[str, float]): Values in per cent, by metric.
        by (str): Who published them.
        also (tuple): Pairs of who and values, of others.
        deviations (tuple[str]): Of the config, from the recipe behind the
            published values.
        processes (int | None): Of the recipe.
        trained (int | None): Parameters of the backbone that train.
        share (float | None): Of all parameters of the backbone.
        published_parameters (dict[str, float]): What the paper's columns
            say: ``Millions``, and ``Percent`` where it has a share.
    """

    name: str
    config: str
    model: str
    backbone: str
    dataset: str
    method: str
    variant: str
    tables: Tuple[str, ...]
    metrics: Tuple[str, ...]
    published: Dict[str, float]
    by: str
    also: Tuple[Tuple[str, Dict[str, float]], ...] = ()
    deviations: Tuple[str, ...] = ()
    processes: Optional[int] = None
    trained: Optional[int] = None
    share: Optional[float] = None
    published_parameters: Dict[str, float] = field(default_factory=dict)


def load_cells(root=ROOT) -> List[Cell]:
    """Read the cells of every metafile in the index.

    Args:
        root (str | Path): The project. Defaults to where this package is.

    Returns:
        list[Cell]: In the order of the index.

    Raises:
        ConfigError: If the index or a metafile is missing or lacks a key.
    """
    index = _load(Path(root) / 'model-index.yml')
    return [cell for path in index['Import']
            for cell in _cells_of(Path(root) / path)]


def _load(path: Path) -> dict:
    try:
        return yaml.load(path.read_text(encoding='utf-8'), _LOADER)
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(
            f'{path}: the cells of the paper are not readable ({error}); '
            'expected a checkout of the project') from None


def _cells_of(path: Path) -> Iterable[Cell]:
    content = _load(path)
    try:
        for model in content['Models']:
            yield _cell(model)
        for collection in content['Collections']:
            further = collection['Metadata'].get('Published Without Config')
            for values in further or ():
                yield _without_config(collection, values)
    except KeyError as error:
        raise ConfigError(f'{path}: a model lacks {error}; see '
                          'docs/ledger/README.md') from None


def _cell(model: Dict[str, Any]) -> Cell:
    data = model['Metadata']
    published = {
        k: v for r in model.get('Results', ())
        for k, v in r['Metrics'].items()}
    return Cell(
        name=model['Name'], config=model['Config'],
        model=_model(model['In Collection']),
        backbone=parse(model['Config']).backbone,
        metrics=tuple(published or data['Metrics']), published=published,
        by=_publisher(data['Results Source']),
        also=tuple((a['By'], a['Metrics'])
                   for a in data.get('Also Reported', ())),
        deviations=tuple(data.get('Deviations', ())),
        processes=int(data['Training Resources'].split('x')[0]),
        trained=data['Trained Parameters'], share=data['Trained Share'],
        published_parameters=data.get('Published Parameters', {}),
        **_common(data))


def _common(data: Dict[str, Any]) -> Dict[str, Any]:
    return dict(dataset=data['Training Data'], method=data['Method'],
                variant=data.get('Variant', ''),
                tables=tuple(data['Paper Tables']))


def _without_config(collection: dict, values: Dict[str, Any]) -> Cell:
    return Cell(
        name='', config='', model=_model(collection['Name']),
        backbone=values['Backbone'], metrics=tuple(values['Metrics']),
        published=values['Metrics'], by='the paper', **_common(values))


def _model(collection: str) -> str:
    return collection.replace(' with Mona', '')


def _publisher(source: str) -> str:
    """Of ``published by X; ...`` the X, of ``none; ...`` nobody."""
    first = source.split(';')[0]
    return first.replace('published by ', '') if (
        first != 'none') else 'nobody'
