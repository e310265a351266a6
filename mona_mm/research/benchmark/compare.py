"""The ratios of every measure, as plain data."""
from typing import Dict, Iterable, List, Optional, Sequence, Tuple

from .inference import inference_pairs
from .optimizer import DEFAULT, OURS
from .ratios import Ratio, ratio
from .subjects import Comparison

PARTS = ('total', 'forward', 'backward', 'optimizer')


def time_ratios(comparison: Comparison, rows: Dict[str, dict]) -> List[dict]:
    """Ratios of a training step and its parts, per round."""
    return _timed(comparison.pairs, rows, PARTS)


def inference_ratios(comparison: Comparison,
                     rows: Dict[str, dict]) -> List[dict]:
    """Ratios of forward passes, fused methods included."""
    return _timed(inference_pairs(comparison, rows), rows, ('total', ))


def saved_ratios(comparison: Comparison, rows: Dict[str, dict]) -> List[dict]:
    """Ratios of the bytes kept, caches apart, and to the published form."""
    found = _single(comparison, rows, 'activations_mib')
    for label, row in rows.items():
        if published := row['published_mib']:
            found.append(
                dict(
                    method=label,
                    against='published',
                    **_flat(ratio([row['activations_mib']], [published]))))
    return found


def memory_ratios(comparison: Comparison, rows: Dict[str, dict]) -> List[dict]:
    """Ratios of peak memory."""
    return _single(comparison, rows, 'peak_mib')


def optimizer_ratios(comparison: Comparison,
                     rows: Dict[str, dict]) -> List[dict]:
    """Our constructor's step against the default one's, per round."""
    return [
        dict(
            method=label,
            against=DEFAULT,
            **_flat(ratio(row[OURS]['step_ms'], row[DEFAULT]['step_ms'])))
        for label, row in rows.items()
    ]


def area_ratios(comparison: Comparison, rows: Dict[str, dict]) -> List[dict]:
    """Ratios of a training step at every size of the area table."""
    return [
        dict(
            method=own,
            against=other,
            size=size,
            **_flat(ratio(rounds, rows[other]['total_ms'][size])))
        for own, other in comparison.pairs if other in rows
        for size, rounds in rows[own]['total_ms'].items()
    ]


def launch_ratios(comparison: Comparison, rows: Dict[str, dict]) -> List[dict]:
    """Ratios of kernels per step."""
    return _single(comparison, rows, 'kernels')


def shape_ratios(comparison: Comparison, rows: Dict[str, dict]) -> List[dict]:
    """Ratios of the step on a new shape, per shape."""
    return _timed(comparison.pairs, rows, ('new', ))


RATIOS = dict(
    saved=saved_ratios,
    time=time_ratios,
    inference=inference_ratios,
    optimizer=optimizer_ratios,
    memory=memory_ratios,
    area=area_ratios,
    launches=launch_ratios,
    shapes=shape_ratios)


def find(ratios: Iterable[dict], **what) -> Optional[Ratio]:
    """The ratio with these entries; ``None`` if there is none."""
    for row in ratios:
        if all(row.get(k) == v for k, v in what.items()):
            return None if row['median'] is None else Ratio(
                row['median'], row['low'], row['high'])
    return None


def _timed(pairs: Sequence[Tuple[str, str]], rows: Dict[str, dict],
           parts: Sequence[str]) -> List[dict]:
    return [
        dict(
            method=own,
            against=other,
            part=part,
            **_flat(ratio(rows[own][part], rows[other][part])))
        for own, other in pairs for part in parts
    ]


def _single(comparison: Comparison, rows: Dict[str, dict],
            key: str) -> List[dict]:
    return [
        dict(
            method=own,
            against=other,
            **_flat(ratio([rows[own][key]], [rows[other][key]])))
        for own, other in comparison.pairs
    ]


def _flat(found: Optional[Ratio]) -> dict:
    return found._asdict() if found else dict.fromkeys(Ratio._fields)
