"""What was measured, as text: ratios first, then the figures."""
from statistics import median
from typing import Dict, List, Optional, Sequence

from .compare import PARTS, find
from .device_work import shape_ratio
from .optimizer import DEFAULT, OURS
from .options import Size
from .ratios import Ratio
from .subjects import Comparison
from .tables import NOTHING, number, table

_ROUNDS = 'median (smallest-largest) of the rounds'


def header(result: dict) -> str:
    """Where, with what and how everything is measured."""
    here, how = result['environment'], result['protocol']
    versions = ', '.join(f'{k} {v}' for k, v in here['versions'].items())
    set_ = ', '.join(f'{k}={v}' for k, v in here['variables'].items())
    load, cores = here['load_average'][0], here['cores']
    busy = ' (other work runs here: do not trust the times)'
    return '\n'.join([
        '# Benchmark of tuned backbones\n',
        f'- {here["date"]}, {here["device"]} ({here["device_type"]}'
        f'{", CUDA " + here["cuda"] if here["cuda"] else ""}), '
        f'{cores} cores, {here["threads"]} threads, load average at the '
        f'start {load}{busy if load > cores / 2 else ""}',
        f'- {versions}, Python {here["python"]}, {here["system"]}'
        f'{"; " + set_ if set_ else ""}',
        f'- {_precision(how["dtype"], here["matmul_precision"])}; sizes '
        f'(batch x pixels) {", ".join(how["sizes"])}; seed {how["seed"]}; '
        f'{how["runs"]} rounds after {how["warmup"]} that do not count (area: '
        f'{how["area_runs"]} after 1), subjects in turns',
        '- branches that drop-path zeroes: '
        f'{_SKIPPED[how["skip_dropped"]]}; saved activations count them all',
    ])


_SKIPPED = {
    True: 'left out of timed steps',
    False: 'computed in timed steps',
    'auto': 'left out of timed steps of our backbones on a CPU',
}


def title(comparison: Comparison) -> str:
    """What the tables below it have in common."""
    cp = 'with' if comparison.backbone.get('with_cp') else 'without'
    kind = comparison.optim_wrapper['optimizer']['type']
    lines = [
        f'\n## {comparison.name}\n',
        f'Drop-path {comparison.drop_path_rate:g}, {cp} checkpointing, '
        f'{kind}. The backbone alone.',
    ]
    return '\n'.join(lines + [f'Note: {n}.' for n in comparison.notes])


def footer(result: dict) -> str:
    """What was not measured."""
    return '\n'.join(['\n## Not measured\n'] +
                     [f'- {gap}' for gap in result['not_measured']])


def saved_table(comparison: Comparison, size: Size, found: dict) -> str:
    """Bytes kept for the backward pass."""
    words = _words(comparison)
    head = ['subject', *(f'of {w}' for w in words), 'of published',
            'MiB', 'cache MiB', 'published MiB']
    rows = [[
        label, *_against(comparison, found, label, words),
        _short(find(found['ratios'], method=label, against='published')),
        number(row['activations_mib']), number(row['cache_mib']),
        number(row['published_mib'])
    ] for label, row in found['subjects'].items()]
    return table(f'Saved activations, {size}', head, rows)


def memory_table(comparison: Comparison, size: Size, found: dict) -> str:
    """Peak memory of a training step."""
    words = _words(comparison)
    head = ['subject', *(f'of {w}' for w in words), 'peak MiB',
            'between steps MiB']
    rows = [[
        label, *_against(comparison, found, label, words),
        number(row['peak_mib']), number(row['resident_mib'])
    ] for label, row in found['subjects'].items()]
    return table(f'Peak GPU memory of a training step, {size}', head, rows)


def time_table(comparison: Comparison, size: Size, found: dict) -> str:
    """Time of a training step and of its parts."""
    rows = [[
        own, other, *(_long(find(
            found['ratios'], method=own, against=other, part=p))
                      for p in PARTS)
    ] for own, other in comparison.pairs]
    text = table(f'Training step, {size}: ratio, {_ROUNDS}',
                 ['method', 'against', *PARTS], rows, 2) if rows else ''
    text += '\n' * bool(text) + table(
        f'Training step, {size}: median ms', ['subject', *PARTS],
        [[label, *(_median(laps[p]) for p in PARTS)]
         for label, laps in found['subjects'].items()])
    idle = [label for label, laps in found['subjects'].items()
            if None in laps['backward']]
    return text + (f'\n\nNothing trains in {"; ".join(idle)}: the step is a '
                   'forward pass.' if idle else '')


def inference_table(comparison: Comparison, size: Size, found: dict) -> str:
    """Time and throughput without gradients."""
    rows = [[r['method'], r['against'], _long(_ratio_of(r))]
            for r in found['ratios']]
    text = table(f'Inference, {size}: ratio of time, {_ROUNDS}',
                 ['method', 'against', 'time'], rows, 2) if rows else ''
    return text + '\n' * bool(text) + table(
        f'Inference, {size}', ['subject', 'median ms', 'images/s'],
        [[label, _median(laps['total']),
          number(1e3 * size.batch / median(laps['total']))]
         for label, laps in found['subjects'].items()])


def optimizer_table(comparison: Comparison, found: dict) -> str:
    """Our parameter groups against the default constructor's."""
    rows = []
    for label, row in found['subjects'].items():
        ratio = find(found['ratios'], method=label, against=DEFAULT)
        rows.append([label, _long(ratio), *(
            text for name in (OURS, DEFAULT)
            for text in (str(row[name]['groups']),
                         str(row[name]['tensors']),
                         number(median(row[name]['step_ms']), 2)))])
    return table(
        f'Optimizer step: {OURS} against mmengine\'s default, {_ROUNDS}', [
            'subject', 'ratio', 'groups', 'tensors', 'ms', 'default groups',
            'default tensors', 'default ms'
        ], rows)


def area_table(comparison: Comparison, found: dict) -> str:
    """Cost against image area."""
    subjects = found['subjects']
    sizes = list(next(iter(subjects.values()))['total_ms'])
    pairs = list(dict.fromkeys(
        (r['method'], r['against']) for r in found['ratios']))
    rows = [[own, other, *(_long(find(
        found['ratios'], method=own, against=other, size=s))
                           for s in sizes)] for own, other in pairs]
    text = table(f'Training step against image area: ratio, {_ROUNDS}',
                 ['method', 'against', *sizes], rows, 2) if rows else ''
    return text + '\n' * bool(text) + table(
        'Training step against image area: ms per megapixel',
        ['subject', *sizes, 'slope', 'intercept ms', 'R^2'],
        [_area_row(label, row) for label, row in subjects.items()])


def launches_table(comparison: Comparison, size: Size, found: dict) -> str:
    """Kernels of a training step, and how long the GPU works on them."""
    words = _words(comparison)
    head = ['subject', *(f'of {w}' for w in words), 'kernels', 'GPU busy ms']
    rows = [[
        label, *_against(comparison, found, label, words),
        number(row['kernels'], 0), number(row['busy_ms'])
    ] for label, row in found['subjects'].items()]
    return table(f'Kernels of a training step, {size}', head, rows)


def shapes_table(comparison: Comparison, size: Size, found: dict) -> str:
    """What an image shape costs that is new."""
    rows = [[
        label, number(shape_ratio(row), 2), _median(row['new']),
        _median(row['again']), _median(row['first'])
    ] for label, row in found['subjects'].items()]
    return table(
        f'Steps on new image shapes up to {size}: a new shape against the '
        'same again, medians', ['subject', 'new of known', 'new ms',
                                'again ms', 'first step ms'], rows)


TABLES = dict(
    saved=saved_table,
    time=time_table,
    inference=inference_table,
    optimizer=optimizer_table,
    memory=memory_table,
    area=area_table,
    launches=launches_table,
    shapes=shapes_table)


def _area_row(label: str, row: dict) -> List[str]:
    each = [
        number(median(rounds) / row['megapixels'][size])
        for size, rounds in row['total_ms'].items()
    ]
    line: Optional[Dict[str, float]] = row['line']
    if line is None:
        return [label, *each, NOTHING, NOTHING, NOTHING]
    return [
        label, *each, number(line['slope']), number(line['intercept']),
        number(line['r2'], 4)
    ]


def _words(comparison: Comparison) -> List[str]:
    """What was asked to be compared with, in order."""
    return list(dict.fromkeys(
        word for found in comparison.references.values() for word in found))


def _against(comparison: Comparison, found: dict, label: str,
             words: Sequence[str]) -> List[str]:
    references = comparison.references.get(label, {})
    return [
        _short(find(found['ratios'], method=label, against=references[w]))
        if w in references else NOTHING for w in words
    ]


def _ratio_of(row: dict) -> Optional[Ratio]:
    return find([row], method=row['method'])


def _short(ratio: Optional[Ratio]) -> str:
    return NOTHING if ratio is None else f'{ratio.median:.3f}'


def _long(ratio: Optional[Ratio]) -> str:
    return NOTHING if ratio is None else str(ratio)


def _median(rounds: Sequence[Optional[float]]) -> str:
    return NOTHING if None in rounds else number(median(rounds))


def _precision(dtype: str, matmul: str) -> str:
    return f'{dtype}, matmul precision {matmul}' if dtype == 'float32' else (
        f'autocast to {dtype}')
