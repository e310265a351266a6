"""The cells of the paper's tables, as the metafiles hold them."""
from pathlib import Path
from typing import Any, Dict, List

import pandas as pd
import yaml

from mona_mm.errors import ConfigError
from mona_mm.hub import MIM

from .names import parse

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
    'Other backbones': 'PVT, Pascal VOC (arXiv 2408.08345)',
    'HST': 'Hierarchical Side-Tuning of ViT-B (arXiv 2310.05393)',
    'Others': 'benchmarks on which others report Mona',
}


def load_cells(root=MIM) -> pd.DataFrame:
    """Read the cells of every metafile in the index.

    A model whose ``Metadata`` names no ``Paper Tables`` is not one.

    Args:
        root (str | Path): Where the index is. Defaults to the package's own.

    Returns:
        DataFrame: One row per cell and metric, in the order of the index.

        - ``cell``: its number; ``metric``: by the paper's name.
        - ``config``: relative to the project, empty if there is none;
          ``home`` (the task's config), ``method`` and ``setting`` tell a
          cell from all others.
        - ``model``, ``backbone``, ``dataset``; ``method`` as it calls
          itself; ``variant``: what is different from the method's own cell.
        - ``tables`` (tuple): where the paper has it, or where it belongs.
        - ``published`` in per cent, ``published_by`` whom;
          ``also_reported`` (tuple): values of others, in words.
        - ``config_deviations`` (tuple) from the recipe behind the published
          value; ``processes`` of the recipe.
        - ``trained`` parameters and their ``share`` of the backbone; what the
          paper's columns say: ``published_millions``, ``published_percent``.

    Raises:
        ConfigError: If the index or a metafile is missing or lacks a key.
    """
    cells: List[Dict[str, Any]] = []
    for name in _load(Path(root) / 'model-index.yml')['Import']:
        content = _load(Path(root) / name)
        try:
            cells += [_cell(model) for model in content['Models']
                      if 'Paper Tables' in model['Metadata']]
            cells += [
                dict(_common(collection['Name'], values), config='',
                     backbone=values['Backbone'],
                     by=values.get('By', 'the paper'),
                     metrics=values['Metrics'], published=values['Metrics'])
                for collection in content['Collections']
                for values in collection['Metadata'].get(
                    'Published Without Config', ())]
        except KeyError as error:
            raise ConfigError(f'{Path(root) / name}: a model lacks {error}; '
                              'see docs/ledger/README.md') from None
    rows = [dict(cell, cell=i, metric=metric, **_values(cell, metric))
            for i, cell in enumerate(cells) for metric in cell['metrics']]
    return pd.DataFrame(rows, columns=_COLUMNS, dtype=object)


_COLUMNS = (
    'cell', 'tables', 'model', 'backbone', 'dataset', 'method', 'variant',
    'metric', 'published', 'published_by', 'also_reported',
    'config_deviations', 'processes', 'trained', 'share',
    'published_millions', 'published_percent', 'config', 'home', 'setting')


def home_of(config: str) -> str:
    """The path of a config without its method: that of its task."""
    return str(Path(config).with_name(parse(config).task)) if config else ''


def _load(path: Path) -> dict:
    try:
        return yaml.load(path.read_text(encoding='utf-8'), _LOADER)
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(
            f'{path}: the cells of the paper are not readable ({error}); '
            'expected a checkout of the project') from None


def _cell(model: Dict[str, Any]) -> Dict[str, Any]:
    data, leaf = model['Metadata'], parse(model['Config'])
    published = {k: v for result in model.get('Results', ())
                 for k, v in result['Metrics'].items()}
    paper = data.get('Published Parameters', {})
    source = data['Results Source'].split(';')[0]
    return dict(
        _common(model['In Collection'], data), config=model['Config'],
        home=home_of(model['Config']), setting=leaf.variant,
        backbone=data.get('Backbone', leaf.backbone),
        metrics=published or data['Metrics'],
        published=published, others=data.get('Also Reported', ()),
        by=source.removeprefix('published by '),
        config_deviations=tuple(data.get('Deviations', ())),
        processes=int(data['Training Resources'].split('x')[0]),
        trained=data['Trained Parameters'], share=data['Trained Share'],
        published_millions=paper.get('Millions'),
        published_percent=paper.get('Percent'))


def _common(collection: str, data: Dict[str, Any]) -> Dict[str, Any]:
    return dict(
        model=collection.split(' with ')[0], method=data['Method'],
        dataset=data['Training Data'], variant=data.get('Variant', ''),
        tables=tuple(data['Paper Tables']), home='', setting='',
        config_deviations=(), others=())


def _values(cell: Dict[str, Any], metric: str) -> Dict[str, Any]:
    value = cell['published'].get(metric)
    return dict(
        published=value,
        published_by='nobody' if value is None else cell['by'],
        also_reported=tuple(
            f'{other["Metrics"][metric]}, {other["By"]}'
            for other in cell['others'] if metric in other['Metrics']))
