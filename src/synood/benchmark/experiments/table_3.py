"""Table 3: the same images with negative labels and features of other encoders."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from synood.benchmark.experiments.interface import Experiment, Outcome, variant
from synood.benchmark.experiments.setup import Setup, measured_outcome
from synood.benchmark.protocol import scoring
from synood.benchmark.protocol.methods import NEGLABEL, SYNOOD
from synood.features.store import FeatureStore
from synood.models.bundles import load_bundle
from synood.models.loaded import Models
from synood.progress import no_progress

if TYPE_CHECKING:
    from synood.benchmark.protocol.methods import Method
    from synood.benchmark.results.comparisons import SeedScores
    from synood.models.bundles import Bundle

# The paper's three encoders as parts of its bundle; another bundle has its own encoder alone.
ENCODERS = {
    "paper": (
        "paper",
        "paper+encoder=openai/clip-vit-base-patch32",
        "paper+encoder=timm/resnet50_clip.openai",
    )
}


def run(setup: Setup) -> Outcome:
    """Measure NegLabel and SynOOD with each encoder; the guiding classifier is the same."""
    bundles = _bundles(setup.inputs.models.bundle)
    scores: dict[str, list[SeedScores]] = {}
    methods: list[Method] = []
    for bundle in bundles:
        for method, found in _with_encoder(setup, bundle).items():
            methods.append(method)
            scores[method.name] = found
    note = "" if len(bundles) > 1 else "this bundle has one encoder"
    return measured_outcome(setup, methods, scores, notes=(note,) if note else ())


def _bundles(own: Bundle) -> list[Bundle]:
    return [load_bundle(name) for name in ENCODERS.get(own.name, ())] or [own]


def _with_encoder(setup: Setup, bundle: Bundle) -> dict[Method, list[SeedScores]]:
    models = Models(bundle, setup.inputs.models.device)
    root = setup.workspace.root / "features"
    store = FeatureStore(root, models.part_fingerprint("encoder"), lambda: models.encoder)
    encoded = scoring.encode_suite(
        setup.suite, store, setup.inputs.classifier, no_progress, models.encoder
    )
    inputs = replace(
        setup.inputs,
        models=models,
        store=store,
        load_words=lambda mining: scoring.encode_words(models, store, mining, no_progress),
    )
    there = replace(setup, inputs=inputs, encoded=encoded)
    label = str(bundle.spec["encoder"].get("id", bundle.name))
    found: dict[Method, list[SeedScores]] = {}
    for base in (NEGLABEL, SYNOOD):
        name, title = f"{base.name}:{label}", f"{base.title}, {label}"
        found[variant(name, title, base.paper, base.needs)] = there.system(base.name)[0]
    return found


TABLE_3 = Experiment(
    "table-3",
    "Table 3: encoders",
    "Does the gain over NegLabel hold for other image-text encoders?",
    run,
)
