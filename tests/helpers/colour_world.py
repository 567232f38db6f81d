"""A world of colours for systems: files, an encoder, a classifier, words and a describer."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression

from colours import ColourEncoder, picture
from synood.benchmark.protocol import scoring
from synood.benchmark.protocol.encoding import EncodedSet, SetImages, image_logits, labels_of
from synood.benchmark.protocol.fit_inputs import CandidateWords, FitInputs
from synood.features.store import FeatureStore
from synood.images.sources import ImageIndex, ImageRecord
from synood.labels.wordnet import Word
from synood.models.describer import Tagger
from synood.settings import MiningSettings, Recipe, ScoreSettings

NAMES = ("red", "green", "blue")
OTHERS = ("yellow", "cyan", "magenta")


class PatchedEncoder(ColourEncoder):
    """Four quarters of an image as its places, and vectors before a text that move its colour."""

    def token_embeddings(self, text):
        return torch.zeros(len(text.split()), self.dim)

    def encode_with_context(self, texts, contexts):
        names = self.encode_texts([text.strip(".") for text in texts])
        return torch.from_numpy(names) + contexts.sum(0)

    def encode_image_patches(self, images, batch_size=64):
        quarters = []
        for image in images:
            w, h = (side // 2 for side in image.size)
            boxes = [(x, y, x + w, y + h) for y in (0, h) for x in (0, w)]
            quarters.append(self.encode_images([image.crop(box) for box in boxes]))
        return np.stack(quarters)


class Parts:
    """The parts of a bundle that systems ask for."""

    def __init__(self, encoder, describer):
        self.encoder, self.describer = encoder, describer


class ReluClassifier:
    """A linear head on 32 non-negative features of an image's mean colour, learned here.

    It is a convolutional network of two stages, which see each pixel by itself.
    """

    class_names, fingerprint = NAMES, "0"

    def __init__(self, encoder, features, labels):
        self._directions = torch.randn(4, 32, generator=torch.Generator().manual_seed(0))
        self.network = self._network(encoder)
        seen = torch.relu(torch.from_numpy(features) @ self._directions).numpy()
        fitted = LogisticRegression(C=10.0).fit(seen, labels)
        self.head = fitted.coef_.astype(np.float32), fitted.intercept_.astype(np.float32)

    def _network(self, encoder):
        """The encoder's features of each pixel, and their products with the directions."""
        ends = torch.cat([torch.zeros(1, 3), torch.eye(3)])[:, :, None, None]
        zero, *units = encoder.encode_pixels(ends)
        seeing, turning = torch.nn.Conv2d(3, 4, 1), torch.nn.Conv2d(4, 32, 1, bias=False)
        seeing.weight.data = torch.stack([unit - zero for unit in units], 1)[:, :, None, None]
        seeing.bias.data = zero
        turning.weight.data = self._directions.T[:, :, None, None].clone()
        return torch.nn.Sequential(seeing, turning).requires_grad_(False)

    def penultimate(self, pixels):
        return torch.relu(self.network(pixels).mean((2, 3)))

    def logits(self, pixels):
        weight, bias = (torch.from_numpy(array) for array in self.head)
        return self.penultimate(pixels) @ weight.T + bias


def written(folder, colours, each, seed):
    """Files of noisy colours, one folder a colour, and their index."""
    records = []
    for name in colours:
        (folder / name).mkdir(parents=True)
        for number in range(each):
            path = folder / name / f"{number:03d}.png"
            picture(name, noise=seed + 1000 * number + len(name)).save(path)
            records.append(ImageRecord(f"{name}/{number:03d}.png", path, name))
    return ImageIndex(folder, tuple(colours), tuple(records))


def colour_world(root):
    """Material and test views of a world of colours: OOD is yellow and magenta, or cyan."""
    encoder = PatchedEncoder()
    train = written(root / "train", NAMES, 20, 1)
    images = [Image.open(record.path).convert("RGB") for record in train.records]
    probe = ReluClassifier(encoder, encoder.encode_images(images), labels_of(train))

    def seen(name, group, colours, each, seed):
        index = written(root / name, colours, each, seed)
        images = [Image.open(record.path).convert("RGB") for record in index.records]
        return EncodedSet(
            name,
            group,
            encoder.encode_images(images),
            image_logits(images, probe),
            labels_of(index) if group == "id" else None,
            SetImages(index.records, probe, encoder),
        )

    words = tuple(Word(text, "noun", "") for text in (*OTHERS, "sea", "stone", "Red"))
    store = FeatureStore(root / "features", encoder.fingerprint, lambda: encoder)
    vocabulary = [*OTHERS, "sea", "stone"]
    inputs = FitInputs(
        class_names=NAMES,
        train=seen("train-again", "id", NAMES, 20, 1),
        validation=seen("validation", "id", NAMES, 8, 50_000),
        validation_ood=(seen("v-near", "near", OTHERS, 8, 60_000),),
        validation_names=OTHERS,
        recipe=Recipe(
            "paper",
            mining=MiningSettings(share=1.0, prompt_set="photo"),
            score=ScoreSettings(temperature=0.05, groups=1),
        ),
        models=Parts(encoder, Tagger(encoder, vocabulary)),
        classifier=probe,
        store=store,
        load_words=lambda mining: CandidateWords(
            words, encoder.encode_texts([f"a photo of a {word.text}" for word in words])
        ),
    )
    encoded = scoring.EncodedSuite(
        inputs.validation,
        inputs.validation_ood,
        seen("test", "id", NAMES, 10, 70_000),
        (
            seen("near", "near", OTHERS[::2], 10, 80_000),
            seen("far", "far", OTHERS[1:2], 10, 90_000),
        ),
    )
    return inputs, encoded
