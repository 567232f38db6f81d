"""Planted scores of methods whose order is known, and the rows and report made from them."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from synood.benchmark.protocol.methods import BASELINES, SYNOOD, Method
from synood.benchmark.report.records import comparisons_to_json, methods_to_json
from synood.benchmark.report.report import Distribution, Report, ShownPair, Strip
from synood.benchmark.report.summary import summarise_run
from synood.benchmark.results import tables
from synood.benchmark.results.comparisons import SeedScores, compare
from synood.benchmark.results.results import Results, make_row

SETS = {"other animals": "near", "tools": "near", "photographs": "far", "textures": "far"}
JIGSAW = Method("jigsaw", "jigsaw", "control", "inductive", ("images",), is_control=True)
UNGUIDED = Method("unguided", "unguided", "control", "inductive", ("images",), is_control=True)
METHODS = (*BASELINES, SYNOOD, UNGUIDED, JIGSAW)
QUALITY = {"synood": 2.6, "neglabel": 1.5, "jigsaw": 2.6, "unguided": 2.0}


def planted_scores(quality, seeds=3, images=150):
    """Method -> scores whose ID side lies `quality[method]` above the OOD side, per seed."""
    rng = np.random.default_rng(0)
    in_distribution = rng.normal(size=images)
    ood = {name: rng.normal(size=images) for name in SETS}
    scores = {}
    for method in METHODS:
        count = seeds if method is SYNOOD or method.is_control else 1
        scores[method.name] = [
            SeedScores(
                seed,
                squashed(in_distribution + quality.get(method.name, 1.0) + 0.05 * seed),
                {name: squashed(values) for name, values in ood.items()},
            )
            for seed in range(count)
        ]
    return scores


def squashed(values):
    return 1 / (1 + np.exp(-np.asarray(values)))


def rows_of(scores, resamples=4):
    return tuple(
        make_row(
            method.name, method.kind, name, SETS[name], item.seed,
            item.in_distribution, item.ood[name], resamples=resamples,
        )
        for method in METHODS
        for item in scores[method.name]
        for name in SETS
    )  # fmt: skip


def comparisons_of(scores, rows, resamples=40):
    others = ["neglabel", "unguided", "jigsaw"]
    return tuple(compare("synood", others, scores, tables.columns(rows), resamples=resamples))


def reading_of(quality):
    scores = planted_scores(quality)
    rows = rows_of(scores)
    return summarise_run(rows, comparisons_of(scores, rows), METHODS)


def report_of(quality, label="panda", prompt="A photo only remain a tree."):
    scores = planted_scores(quality)
    rows = rows_of(scores)
    compared = comparisons_of(scores, rows)
    first = scores["synood"][0]
    return Report(
        results=Results({"recipe": {"name": "paper", "share": 0.15}, "seed": 0}, rows),
        methods=METHODS,
        comparisons=compared,
        summary=summarise_run(rows, compared, METHODS),
        distributions=tuple(
            Distribution(name, group, first.in_distribution, first.ood[name])
            for name, group in SETS.items()
        ),
        threshold=float(np.quantile(first.in_distribution, 0.05)),
        pairs=(
            ShownPair(
                png(1), png(2), label, prompt, "the nice bamboo", -9.25, (-7.5, -5.125), "rounds"
            ),
        ),
        strips=(Strip(label, (("source", png(1)), ("jigsaw", png(3)))),),
        facts={"lede": "Two sets."},
    )


def png(seed, size=8):
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def results_with(**run):
    """Results of planted scores, as a file holds them; `run` adds to its record."""
    scores = planted_scores(QUALITY)
    rows = rows_of(scores)
    listed = comparisons_to_json(comparisons_of(scores, rows))
    return Results({"comparisons": listed, "methods": methods_to_json(METHODS), **run}, rows)
