"""Measures the mini bundle and writes `scores.json` next to it.

    python -m tools.mini.evaluate [--bundle mini] [--stamps DIR] [--fashion DIR] [--sheet FILE]

On scenes from seeds never used in training, main and hard split: zero-shot accuracy, AUROC of
NegLabel at the fraction of labels and temperature chosen on validation images, PSNR of the
autoencoder. By length of the subject, alone on its background: zero-shot accuracy. At a
threshold for 95 % of the main split's validation images: what is kept of them and of the crowded
split's. On real photographs where their folders are given: zero-shot accuracy. `--sheet` draws 100
unguided in-paintings with their prompts, for a person to judge.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from synood.benchmark.protocol import baselines, scoring
from synood.benchmark.protocol.methods import NEGLABEL
from synood.benchmark.suites.mini import prepare_mini
from synood.detector.ood_detector import OODDetector
from synood.features.store import FeatureStore
from synood.features.texts import class_features
from synood.files import write_json
from synood.images.decoding import read_image
from synood.labels.wordnet import shipped_words
from synood.mini.artwork import Artwork
from synood.mini.concepts import CONTEXT, spoken
from synood.mini.crowd import CrowdedWorld, Crowding
from synood.mini.suite import ARTWORK
from synood.models.bundles import EMBEDDED, load_bundle
from synood.models.loaded import Models
from synood.pipeline.recipe import resolve_recipe
from synood.progress import no_progress
from synood.scores import cosine_similarity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synood.benchmark.suites.mini import Split
    from synood.benchmark.suites.suite import Suite
    from synood.models.bundles import Bundle
    from synood.models.clip import ImageTextEncoder

log = logging.getLogger(__name__)
FASHION = (
    "t-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag",
    "ankle boot",
)  # fmt: skip
KEPT: tuple[Split, ...] = ("main", "crowded")
SIZES = (0.7, 0.5, 0.4, 0.3, 0.2)  # of a subject's longer side, as fractions of the width
ALONE = Crowding(
    centre=(0.5, 0.5), behind=(0, 0), beside=(0, 0), occluded=0, blur=(0, 0), quality=(95, 95)
)


def suite_scores(bundle: Bundle, suite: Suite, cache: Path) -> dict[str, float]:
    """Zero-shot accuracy and NegLabel's mean AUROC on near and far test sets, as fractions."""
    models = Models(bundle, "cpu")
    store = FeatureStore(
        cache, models.part_fingerprint("encoder"), lambda: models.encoder, device=models.device
    )
    recipe = resolve_recipe("paper", bundle.recipe_defaults)
    classifier = scoring.suite_classifier(suite.one("train"), models, store)
    encoded = scoring.encode_suite(suite, store, classifier, no_progress)
    index = suite.one("test").index()
    names, prompts = index.class_names, recipe.mining.prompt_set
    rows = class_features(store.texts, names, prompts)
    truth = np.array([names.index(str(record.label)) for record in index.records])
    found = cosine_similarity(encoded.test.features, rows).argmax(axis=1)
    own = [names.index(name) for name in classifier.class_names]  # it has an order of its own
    words = scoring.encode_words(models, store, recipe.mining, no_progress)
    choices = scoring.choose(words, names, rows, encoded, recipe)
    scorer = scoring.baseline_scorers(words, names, rows, choices, recipe)[NEGLABEL.name]
    result = {
        "zero_shot_accuracy": float((found == truth).mean()),
        "classifier_accuracy": float(
            (np.array(own)[encoded.test.logits.argmax(axis=1)] == truth).mean()
        ),
        "classes": len(names),
        "neglabel_share": float(choices.neglabel.share or 0),
        "neglabel_temperature": choices.neglabel.temperature,
    }
    for group in ("near", "far"):
        sets = [ood for ood in encoded.test_ood if ood.group == group]
        result[f"neglabel_auroc_{group}"] = baselines.mean_auroc(scorer, encoded.test, sets)
        for ood in sets:
            result[f"neglabel_auroc_{ood.name}"] = baselines.mean_auroc(scorer, encoded.test, [ood])
    return result


def size_scores(encoder: ImageTextEncoder, each: int = 10) -> dict[str, float]:
    """Zero-shot accuracy over the classes by length of the subject, in fractions of the width.

    Each scene is one whole subject on a background out of focus, `each` of a class, by known
    artists; neither blurred nor visibly compressed.
    """
    scores: dict[str, float] = {}
    world = CrowdedWorld(Artwork.load(ARTWORK))
    names = [spoken(concept) for concept in world.classes]
    texts = encoder.encode_texts([f"a photo of a {name}" for name in names])
    truth = np.repeat(np.arange(len(names)), each)
    for length in SIZES:
        world.crowding = replace(ALONE, subject=(length, length))
        rng = np.random.default_rng((7, round(100 * length)))
        scenes = [world.scene(world.classes[row], rng).image for row in truth]
        features = encoder.encode_images([Image.fromarray(scene) for scene in scenes])
        best = cosine_similarity(features, texts).argmax(axis=1)
        scores[f"{length:g}"] = float((best == truth).mean())
    return scores


def kept_scores(bundle: Bundle, folder: Path) -> dict[str, float]:
    """Fraction kept of each split's validation images at the threshold of the main split's.

    The detector knows the class names alone.
    """
    kept: dict[str, float] = {}
    detector = None
    for split in KEPT:
        index = prepare_mini(folder / split, seed=7, split=split).one("validation").index()
        images = [record.path for record in index.records]
        if detector is None:
            named = OODDetector.from_classes(index.class_names, models=bundle)
            detector = named.calibrate(named.score(images), 0.95)
        verdicts = [found.is_ood is False for found in detector.predict(images)]
        kept[split] = float(np.mean(verdicts))
    return kept


def reconstruction_psnr(bundle: Bundle, suite: Suite, count: int = 300) -> float:
    """Mean PSNR in dB of the autoencoder on test scenes, from sampled latents."""
    import torch

    inpainter = bundle.inpainter()
    records = suite.one("test").index().records
    chosen = [records[i] for i in range(0, len(records), max(1, len(records) // count))]
    values = []
    for record in chosen:
        pixels = np.asarray(read_image(record.path), np.float32) / 255
        image = torch.from_numpy(pixels).permute(2, 0, 1)[None]
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            latents = inpainter.encode(image, [generator])
            rebuilt = inpainter.decode(inpainter.unscaled(latents))
        values.append(-10 * np.log10(float((rebuilt - image).square().mean())))
    return float(np.mean(values))


def zero_shot(
    encoder: ImageTextEncoder, paths: Sequence[Path], labels: Sequence[str], names: Sequence[str]
) -> float:
    """Return the fraction of photographs whose best name of `names` is their own."""
    features = encoder.encode_images([read_image(path) for path in paths])
    texts = encoder.encode_texts([f"a photo of a {name}" for name in names])
    best = cosine_similarity(features, texts).argmax(axis=1)
    return float(
        np.mean([names[index] == label for index, label in zip(best, labels, strict=True)])
    )


def stamp_photographs(folder: Path) -> tuple[list[Path], list[str]]:
    """List Tux Paint's stamps of things whose file name begins with a noun of WordNet."""
    nouns = {word.text for word in shipped_words(exclude=()) if word.pos == "noun"}
    paths, labels = [], []
    for path in sorted(folder.rglob("*.png")):
        word = path.stem.split("_")[0].strip("0123456789").lower()
        places = {"animals", "plants", "food", "vehicles", "household", "clothes", "hobbies"}
        kept = len(word) > 2 and word in nouns and "cartoon" not in path.parts
        if kept and places & set(path.parts):
            paths.append(path)
            labels.append(word)
    return paths, labels


def photograph_scores(encoder: ImageTextEncoder, stamps: Path | None, fashion: Path | None) -> Any:  # noqa: ANN401
    """Zero-shot accuracy on real photographs that Debian packages carry, where given."""
    scores: dict[str, Any] = {}
    if stamps is not None:
        paths, labels = stamp_photographs(stamps)
        names = sorted(set(labels))
        scores["stamps"] = {
            "n": len(paths), "classes": len(names),
            "accuracy": zero_shot(encoder, paths, labels, names),
        }  # fmt: skip
    if fashion is not None:
        from tools.mini.photographs import read_idx

        pixels = read_idx(fashion / "t10k-images-idx3-ubyte.gz")[:2000]
        truth = read_idx(fashion / "t10k-labels-idx1-ubyte.gz")[:2000]
        features = encoder.encode_images([Image.fromarray(p).convert("RGB") for p in pixels])
        texts = encoder.encode_texts([f"a photo of a {name}" for name in FASHION])
        best = cosine_similarity(features, texts).argmax(axis=1)
        scores["fashion_mnist"] = {
            "n": len(truth), "classes": len(FASHION), "accuracy": float((best == truth).mean()),
        }  # fmt: skip
    return scores


def draw_sheet(bundle: Bundle, suite: Suite, path: Path, count: int = 100) -> None:
    """Draw `count` unguided in-paintings of test scenes, each over its prompt.

    The prompts name one thing of the painter's vocabulary each, in turn.
    """
    import torch

    from synood.settings import GuidanceSettings
    from synood.synthesis.guidance import guided_inpainting
    from tools.mini.contact_sheet import contact_sheet

    inpainter, classifier = bundle.inpainter(), bundle.classifier()
    assert classifier is not None
    records = suite.one("test").index().records
    rng = np.random.default_rng(0)
    chosen = [records[i] for i in rng.choice(len(records), count, replace=False)]
    pixels = [np.asarray(read_image(record.path), np.float32) / 255 for record in chosen]
    things = [spoken(CONTEXT[index % len(CONTEXT)]) for index in range(count)]
    plain = GuidanceSettings(step_size=0.0, rounds=1, guidance_scale=5.0)
    images: list[np.ndarray] = []
    for start in range(0, count, 20):
        batch = torch.from_numpy(np.stack(pixels[start : start + 20])).permute(0, 3, 1, 2)
        prompts = [f"A photo only remain {thing}." for thing in things[start : start + 20]]
        seeds = list(range(start, start + len(prompts)))
        found = guided_inpainting(inpainter, classifier, batch, prompts, plain, seeds)
        images += [rendered.image for rendered in found]
    contact_sheet([("unguided in-painting, strength 0.6", np.stack(images))], things, path)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command: python -m tools.mini.evaluate."""
    parser = argparse.ArgumentParser(description="Measure the mini bundle.")
    parser.add_argument("--bundle", default="mini")
    parser.add_argument("--stamps", type=Path, help="tuxpaint-stamps-default's stamps folder")
    parser.add_argument("--fashion", type=Path, help="dataset-fashion-mnist's folder")
    parser.add_argument("--sheet", type=Path, help="PNG file for 100 unguided in-paintings")
    parser.add_argument("--out", type=Path, help="default: scores.json in the embedded bundle")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    bundle = load_bundle(options.bundle)
    scores: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for split in ("main", "hard"):
            suite = prepare_mini(Path(folder) / split, seed=7, split=split)
            scores[split] = suite_scores(bundle, suite, Path(folder) / "features")
            log.info("%s: %s", split, scores[split])
            if split == "main" and "inpainter" in bundle.spec:
                scores["vae_psnr"] = reconstruction_psnr(bundle, suite)
                log.info("autoencoder: %.2f dB", scores["vae_psnr"])
                if options.sheet:
                    draw_sheet(bundle, suite, options.sheet)
        scores["kept"] = kept_scores(bundle, Path(folder))
        log.info("kept at the main split's threshold: %s", scores["kept"])
    scores["subject_size"] = size_scores(bundle.encoder())
    log.info("accuracy by length of the subject: %s", scores["subject_size"])
    scores["photographs"] = photograph_scores(bundle.encoder(), options.stamps, options.fashion)
    log.info("photographs: %s", scores["photographs"])
    write_json(options.out or EMBEDDED["mini"] / "scores.json", scores)


if __name__ == "__main__":
    main()
