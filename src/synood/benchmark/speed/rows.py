"""The rows of `synood bench`: each measures one path on data that it makes itself."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from synood.benchmark.speed.timing import Timed, children, compare

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from synood.detector import OODDetector
    from synood.models.dual import DualEncoder

PICTURES = 32


def photographs(folder: Path) -> list[Path]:
    """Write JPEGs of 500 x 375 pixels with the detail of photographs; return their paths."""
    rng, paths = np.random.default_rng(0), []
    for number in range(PICTURES):
        rough = Image.fromarray(rng.integers(0, 256, (60, 80, 3), dtype=np.uint8))
        path = folder / f"{number:03}.jpg"
        rough.resize((500, 375), Image.Resampling.BICUBIC).save(path, quality=90)
        paths.append(path)
    return paths


def start(folder: Path, runs: int) -> list[Timed]:
    """The help, and the verdict on a first image, beside importing torch alone."""
    detector, image = _detector(), photographs(folder)[0]
    detector.save_pretrained(folder / "detector")

    def run(*arguments: str) -> Callable[[], object]:
        command = [sys.executable, *arguments]
        return lambda: subprocess.run(command, check=True, capture_output=True)

    score = run("-m", "synood", "score", str(folder / "detector"), str(image))
    found = compare(
        {"help": run("-m", "synood", "--help"), "score": score, "torch": run("-c", "import torch")},
        runs,
        children,
    )
    return [
        Timed("start", "the help text", found["help"], {}),
        Timed(
            "start", "a verdict on one new image", found["score"], {"import torch": found["torch"]}
        ),
    ]


def decode(folder: Path, runs: int) -> list[Timed]:
    """From JPEG to what the encoder takes, beside Pillow alone."""
    from synood.images.decoding import read_image

    paths, steps = photographs(folder), _encoder().preprocess

    def pillow() -> list[Image.Image]:
        return [Image.open(path).convert("RGB") for path in paths]

    def ours() -> object:
        return [steps.pixels(steps.shrunk(read_image(path))) for path in paths]

    found = compare({"ours": ours, "Pillow, decoding alone": pillow}, runs)
    return [_row("decode", f"{PICTURES} JPEGs of 500 x 375, resized", found)]


def encode(folder: Path, runs: int) -> list[Timed]:
    """Images that are decoded through the embedded encoder, beside the network in batches of 16."""
    import torch

    from synood.features.encoding import encoded
    from synood.images.decoding import read_image

    encoder = _encoder()
    images = [encoder.preprocess.shrunk(read_image(path)) for path in photographs(folder)]
    pixels = torch.from_numpy(np.stack([encoder.preprocess.pixels(image) for image in images]))

    @torch.inference_mode()
    def network() -> object:
        return [encoder.encode_pixels(pixels[i : i + 16]) for i in range(0, PICTURES, 16)]

    found = compare(
        {
            "ours": lambda: [*encoded(lambda: encoder, images, "cpu")],
            "the network, batches of 16": network,
        },
        runs,
    )
    return [_row("encode", f"{PICTURES} images, bundle photo", found)]


def folder(folder: Path, runs: int) -> list[Timed]:
    """`OODDetector.score` of a folder, beside decoding and encoding in a plain loop."""
    from synood.images.decoding import read_image

    detector, paths = _detector(), photographs(folder)
    encoder = detector.backbone.load()

    def plain() -> object:
        return [encoder.encode_images([read_image(path)]) for path in paths]

    found = compare(
        {"ours": lambda: detector.score(paths), "decode + encode, a plain loop": plain}, runs
    )
    return [_row("folder", f"scores of {PICTURES} JPEGs, no cache", found)]


def score(folder: Path, runs: int) -> list[Timed]:
    """NegLabel from features at ImageNet's size, beside the product alone and a plain softmax."""
    from synood.scores import NegLabelScorer, cosine_similarity, group_order

    images, classes, negatives = (_unit(rows) for rows in (1_024, 1_000, 10_499))
    scorer = NegLabelScorer.from_features(classes, negatives, groups=100)
    labels = np.concatenate([classes, negatives])
    order = group_order(len(negatives), 100, 0)

    def plain() -> object:
        near, far = (
            np.exp(cosine_similarity(images, rows) / 0.01) for rows in (classes, negatives)
        )
        mass = near.sum(axis=1)
        return np.mean([mass / (mass + far[:, group].sum(axis=1)) for group in order], axis=0)

    found = compare(
        {"ours": lambda: scorer(images), "the product alone": lambda: images @ labels.T,
         "softmax, group by group": plain},
        runs,
    )  # fmt: skip
    return [_row("score", "1,024 images x (1,000 + 10,499) labels, 100 groups", found)]


def mining(folder: Path, runs: int) -> list[Timed]:
    """Negative labels out of 16,384 words, beside the product alone and torch.quantile."""
    import torch

    from synood.labels.mining import neglabel_pool

    words, classes = _unit(16_384), _unit(1_000)
    pair = torch.from_numpy(words), torch.from_numpy(classes)

    def plain() -> object:
        parts = [(rows @ pair[1].T).quantile(0.95, dim=1) for rows in torch.split(pair[0], 1_000)]
        return torch.cat(parts).argsort()

    found = compare(
        {"ours": lambda: neglabel_pool(words, classes, 0.15, 0.95),
         "the product alone": lambda: words @ classes.T, "torch.quantile": plain},
        runs,
    )  # fmt: skip
    return [_row("mining", "16,384 words x 1,000 classes", found)]


def metrics(folder: Path, runs: int) -> list[Timed]:
    """The five metrics of 60,000 scores, beside scikit-learn's AUROC alone."""
    from synood.metrics import ood_metrics

    rng = np.random.default_rng(0)
    ids, oods = rng.normal(1, 1, 50_000), rng.normal(0, 1, 10_000)
    functions: dict[str, Callable[[], object]] = {"ours": lambda: ood_metrics(ids, oods)}
    missing = () if find_spec("sklearn") else ("scikit-learn",)
    if not missing:
        from sklearn.metrics import roc_auc_score

        truth, joined = np.r_[np.ones(50_000), np.zeros(10_000)], np.r_[ids, oods]
        functions["scikit-learn, AUROC alone"] = lambda: roc_auc_score(truth, joined)
    found = compare(functions, runs)
    return [_row("metrics", "five metrics of 50,000 + 10,000 scores", found, missing)]


def imglist(folder: Path, runs: int) -> list[Timed]:
    """A list of 200,000 images, beside reading its lines."""
    from synood.images.imglist import read_imglist

    path = folder / "list.txt"
    path.write_text("".join(f"train/n{n // 200:08}/{n}.JPEG {n // 200}\n" for n in range(200_000)))
    names = [f"class {number}" for number in range(1_000)]

    def lines() -> list[str]:
        with path.open() as file:
            return file.readlines()

    found = compare({"ours": lambda: read_imglist(path, folder, names), "readlines": lines}, runs)
    return [_row("imglist", "200,000 lines", found)]


def selection(folder: Path, runs: int) -> list[Timed]:
    """Bytes per pixel, beside opening each image with Pillow."""
    from synood.images.selection import measure_ratios
    from synood.images.sources import folder_per_class

    (folder / "class").mkdir()
    index = folder_per_class(folder) if photographs(folder / "class") else None
    assert index is not None

    def pillow() -> list[float]:
        found = []
        for record in index.records:
            with Image.open(record.path) as image:
                found.append(record.path.stat().st_size / (image.width * image.height))
        return found

    found = compare({"ours": lambda: measure_ratios(index), "Pillow, one by one": pillow}, runs)
    return [_row("selection", f"bytes per pixel of {PICTURES} JPEGs", found)]


def text(folder: Path, runs: int) -> list[Timed]:
    """Texts through the embedded sentence model, beside one batch padded to its longest."""
    from synood.models.bundles import load_bundle

    encoder = load_bundle("mini").encoder()
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("aeinorst"), rng.integers(3, 30))) for _ in range(256)]
    texts = [f"a photo of a {word}" for word in words]

    def unsorted() -> object:
        return [encoder.encode_texts(texts[i : i + 64]) for i in range(0, 256, 64)]

    found = compare(
        {"ours": lambda: encoder.encode_texts(texts), "batches of 64 as they come": unsorted}, runs
    )
    return [_row("text", "256 prompts, bundle mini", found)]


ROWS = {
    "start": start,
    "decode": decode,
    "encode": encode,
    "folder": folder,
    "score": score,
    "mining": mining,
    "text": text,
    "selection": selection,
    "imglist": imglist,
    "metrics": metrics,
}


def _row(row: str, what: str, found: dict[str, float], missing: tuple[str, ...] = ()) -> Timed:
    peers = {name: time for name, time in found.items() if name != "ours"}
    return Timed(row, what, found["ours"], peers, missing)


def _unit(rows: int) -> NDArray[np.float32]:
    features = np.random.default_rng(rows).normal(size=(rows, 512)).astype(np.float32)
    unit: NDArray[np.float32] = features / np.linalg.norm(features, axis=1, keepdims=True)
    return unit


def _detector() -> OODDetector:
    from synood.detector import OODDetector

    return OODDetector.from_classes(["cat", "dog"], negatives=["lamp", "bridge"], device="cpu")


def _encoder() -> DualEncoder:
    from synood.models.bundles import load_bundle
    from synood.models.dual import DualEncoder

    encoder = load_bundle("photo").encoder()
    assert isinstance(encoder, DualEncoder)
    return encoder
