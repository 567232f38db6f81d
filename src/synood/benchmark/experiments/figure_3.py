"""Figure 3: the number of synthetic images, with and without tuned labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synood.benchmark.experiments.interface import Chart, Experiment, Outcome, variant
from synood.benchmark.experiments.setup import Setup, measured_outcome
from synood.benchmark.experiments.table_4 import half
from synood.benchmark.protocol.methods import NEGLABEL, SYNOOD
from synood.benchmark.report.line_chart import in_words, line_chart
from synood.benchmark.results.tables import columns, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synood.benchmark.protocol.methods import Method
    from synood.benchmark.protocol.retune import ImagePair
    from synood.benchmark.results.comparisons import SeedScores
    from synood.benchmark.results.results import Row

# The paper's 1k, 5k, 10k, 20k, 30k, 50k, 75k and 100k as fractions of its usual 50k.
SHARES = (0.02, 0.1, 0.2, 0.4, 0.6, 1.0, 1.5, 2.0)
PARTS = {"both": "with tuned labels", "projection": "projection alone"}


def run(setup: Setup) -> Outcome:
    """Tune on the first m images of a run with twice the usual number, for eight values of m."""
    counts = _counts(len(setup.pairs))
    scores: dict[str, list[SeedScores]] = {NEGLABEL.name: setup.system(NEGLABEL.name)[0]}
    methods: list[Method] = [NEGLABEL]
    for count in counts:
        some = first(setup.pairs, count)
        retuner = setup.retuner_for(some)
        images = [item.synthetic for item in some]
        whole = {seed: retuner.detector(images, seed) for seed in setup.seeds}
        for part, title in PARTS.items():
            line = variant(
                f"synood:{part}:{count}", f"{count:,} images, {title}", SYNOOD.paper, SYNOOD.needs
            )
            methods.append(line)
            halves = {seed: half(setup, made, part) for seed, made in whole.items()}
            scores[line.name] = setup.scored(line.title, halves.__getitem__)
    measured = measured_outcome(setup, methods, scores, NEGLABEL.name)
    charts = tuple(_chart(measured.rows, counts, metric) for metric in ("fpr95", "auroc"))
    return Outcome(
        measured.methods, measured.rows, measured.comparisons, {"pictures": counts}, charts=charts
    )


def first(pairs: Sequence[ImagePair], count: int) -> list[ImagePair]:
    """Return `count` pairs, the most complex image of each class before any second one."""
    rank: dict[str, int] = {}
    places = []
    for place, item in enumerate(pairs):
        label = item.source.label
        places.append((rank.get(label, 0), place))
        rank[label] = rank.get(label, 0) + 1
    return [pairs[place] for _, place in sorted(places)[:count]]


def _counts(images: int) -> list[int]:
    """Return the increasing numbers of images, without repeats; the last is all of them."""
    return sorted({max(1, round(share / SHARES[-1] * images)) for share in SHARES})


def _chart(rows: Sequence[Row], counts: Sequence[int], metric: str) -> Chart:
    everything, cells = columns(rows)[0], table(rows, metric)
    lines = {
        title: [(count, cells[f"synood:{part}:{count}"][everything.key].mean) for count in counts]
        for part, title in PARTS.items()
    }
    baseline = cells[NEGLABEL.name][everything.key].mean
    lines["NegLabel, no image"] = [(count, baseline) for count in (counts[0], counts[-1])]
    label = {"fpr95": "FPR95, %", "auroc": "AUROC, %"}[metric]
    across = "synthetic images"
    words = in_words(lines, across, label)
    return Chart(f"figure-3-{metric}", line_chart(lines, across, label), words)


FIGURE_3 = Experiment(
    "figure-3",
    "Figure 3: number of images",
    "How many images are enough, and do more of them hurt?",
    run,
    images_factor=2,
)
