"""Assigned fields that change nothing, since another field overrules them."""

import pytest

from synood.pipeline.overruled import overruled
from synood.pipeline.recipe import resolve_recipe

SIZES = [20] * 56


@pytest.mark.parametrize(
    ("assignments", "said"),
    [
        (["guidance.target=-3"], []),
        (["guidance.target=-3", "guidance.target_quantile=0.9"], ["guidance.target"]),
        (["guidance.temperature=2", "guidance.objective=margin"], ["guidance.temperature"]),
        (["probe.per_class=2", "guidance.objective=margin"], ["probe.per_class"]),
        (["guidance.step_size=2", "guidance.rounds=1"], ["guidance.step_size"]),
        (["guidance.step_size=2"], []),
        (["guidance.step_size=2", "guidance.method=step"], ["guidance.step_size"]),
        (["guidance.rounds=1", "guidance.method=step"], ["guidance.rounds"]),
        (["guidance.mu=1", "guidance.sigma=0"], ["guidance.mu", "guidance.sigma"]),
        (["guidance.mu=1", "guidance.sigma=0", "guidance.method=step"], []),
        (["guidance.rounds=2", "synthesis.method=jigsaw"], ["guidance.rounds"]),
        (["describe.template={}", "synthesis.method=none"], ["describe.template"]),
        (["probe.per_class=2", "synthesis.method=jigsaw"], ["probe.per_class"]),
        (
            ["guidance.step_size=2", "guidance.rounds=1", "synthesis.method=jigsaw"],
            ["guidance.rounds", "guidance.step_size"],
        ),
        (["negatives.momentum=0.5", "synthesis.method=jigsaw"], []),
        (["negatives.momentum=0.5", "synthesis.method=none"], ["negatives.momentum"]),
        (["mining.share=0.5", "mining.labels=released"], ["mining.share"]),
        (["mining.seed=5"], ["mining.seed"]),
        (["mining.seed=5", "mining.pool=csp"], []),
        (["score.seed=5", "score.groups=1"], ["score.seed"]),
        (["evidence.head_penalty=1"], ["evidence.head_penalty"]),
        (["evidence.head_penalty=1", "evidence.head=1"], []),
        (["negatives.epochs=2"], []),
        (["negatives.epochs=2", "negatives.min_steps=100"], ["negatives.epochs"]),
        # 56 classes of 20 images in batches of 128 are 9 steps an epoch: 12 epochs make 108
        (["negatives.epochs=12", "negatives.min_steps=100", "select.per_class=20"], []),
        # and twice as many with the in-distribution images
        (["projection.epochs=6", "projection.min_steps=100", "select.per_class=20"], []),
        (
            ["projection.epochs=5", "projection.min_steps=100", "select.per_class=20"],
            ["projection.epochs"],
        ),
        (["negatives.min_steps=100"], []),  # not given, so nobody expects an effect
    ],
)
def test_what_has_no_effect_is_named(assignments, said):
    found = overruled(resolve_recipe("paper", {}, assignments), assignments, SIZES)
    assert [sentence.split()[0] for sentence in found] == said
