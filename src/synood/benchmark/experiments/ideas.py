"""Ideas that the recipe plus leaves out: each added to paper, and to plus.

All lines share one run: its images, its words, the choices made on validation images. Labels of
another mining rule are mined, and images assigned to them, again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from synood.benchmark.experiments.interface import Experiment, Outcome, variant
from synood.benchmark.experiments.plus import PARTS, scored_with, with_parts
from synood.benchmark.protocol.methods import NEGLABEL, SYNOOD
from synood.pipeline.recipe import with_changes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from synood.benchmark.experiments.setup import Setup
    from synood.benchmark.protocol.methods import Method
    from synood.benchmark.results.comparisons import Comparison, SeedScores

IDEAS: Mapping[str, tuple[str, Mapping[str, object]]] = {
    "identity": ("the projection starts at the identity", {"projection.start": "identity"}),
    "classes-in-loss": ("class names in the labels' loss", {"negatives.include_classes": True}),
    "label-rate": ("labels tuned ten times faster", {"negatives.learning_rate": 2e-2}),
    "class-names": ("labels that are class names", {"mining.exclude_class_names": False}),
    "csp": ("labels of CSP's pool", {"mining.pool": "csp"}),
}
"""Name -> title, and the recipe fields that it changes."""
BASES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "paper": ("SynOOD", ()),
    "plus": ("plus, text alone", tuple(PARTS)),
}


def run(setup: Setup) -> Outcome:
    """Tune both recipes as they are and with each idea; compare each with its own recipe."""
    own = setup.synthetic()
    scores: dict[str, list[SeedScores]] = {NEGLABEL.name: setup.system(NEGLABEL.name)[0]}
    methods: list[Method] = [NEGLABEL]
    for base, (title, parts) in BASES.items():
        recipe = with_parts(setup.recipe, parts)
        lines: dict[str, tuple[str, Mapping[str, object]]] = {base: (title, {})}
        for name, (words, changes) in IDEAS.items():
            lines[f"{base}+{name}"] = f"{title}, {words}", changes
        for name, (words, changes) in lines.items():
            methods.append(variant(name, words, SYNOOD.paper, SYNOOD.needs))
            scores[name] = scored_with(setup, words, with_changes(recipe, changes, name), own)
    rows = setup.measured(methods, scores)
    comparisons: list[Comparison] = []
    for base in BASES:
        comparisons += setup.compared(base, [NEGLABEL.name], scores, rows)
        for name in IDEAS:
            comparisons += setup.compared(f"{base}+{name}", [base], scores, rows)
    return Outcome(tuple(methods), rows, tuple(comparisons))


IDEAS_EXPERIMENT = Experiment(
    "ideas",
    "Ideas that plus leaves out",
    "Does any of them make paper or plus better?",
    run,
    benchmark="openood",
)
