"""Throughput of trained backbones, folded and not."""
import copy
from statistics import median
from typing import List, Tuple

import torch

import mona_mm
from mona_mm.errors import UserError

from .measure import Measure, Rows, middle, number, ratio_table, table
from .step import timed
from .subjects import build

FUSED = ', fused'


class Inference(Measure):
    """The time of a forward pass without gradients.

    Figures: ``total``, milliseconds per round; what ``mona_mm.fuse`` makes
    of a method is labelled ``'<method>, fused'``.
    """

    name = 'inference'

    def measure(self) -> Rows:
        options, comparison = self.options, self.comparison
        images = options.images(self.size, comparison.channels)
        models = {}
        for label, builder in comparison.subjects.items():
            models[label] = build(builder, options.seed, options.place)
            models[label].eval()
            if label not in comparison.tuners:
                continue
            copied = copy.deepcopy(models[label])
            try:
                models[label + FUSED] = mona_mm.fuse(copied) or copied
            except UserError as error:
                note = f'{label} was not fused: {error}'
                if note not in comparison.notes:
                    comparison.notes.append(note)

        def forward(model):
            with torch.no_grad(), options.autocast():
                return timed(lambda: model(images), options.place)

        return self.in_turns({label: lambda m=model: forward(m)
                              for label, model in models.items()})

    def pairs(self, rows: Rows) -> List[Tuple[str, str]]:
        pairs = list(self.comparison.pairs)
        for method in self.comparison.tuners:
            if (fused := method + FUSED) in rows:
                references = self.comparison.references[method].values()
                pairs += [(fused, r) for r in (*references, method)]
        return pairs

    def show(self, rows: Rows, ratios: List[dict]) -> str:
        text = ratio_table(f'Inference, {self.size}', ratios, 'part')
        return text + '\n' * bool(text) + table(
            f'Inference, {self.size}', ['subject', 'median ms', 'images/s'],
            [[label, middle(laps['total']),
              number(1e3 * self.size.batch / median(laps['total']))]
             for label, laps in rows.items()])
