"""The data card of exported images: what they are, how they were made, their limits."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from synood.pipeline.export.images import Sample

MARK = "<!-- exported by synood -->"
_SIZES = {
    10**3: "n<1K", 10**4: "1K<n<10K", 10**5: "10K<n<100K", 10**6: "100K<n<1M", 10**9: "1M<n<1B",
}  # fmt: skip
_FILES = {"folder": None, "webdataset": "pictures-*.tar", "parquet": "pictures-*.parquet"}
_HOW = {
    "folder": "One folder of PNG files per class. `metadata.jsonl` has one line for each image; "
    "`imglist.txt` lists them for OpenOOD, with -1 for out-of-distribution.",
    "webdataset": "Tar shards for webdataset: `NNNNNN.png` with its fields in `NNNNNN.json` and "
    "the number of its class in `NNNNNN.cls`.",
    "parquet": "Parquet shards: the PNG bytes in the column `image`, the other fields next to it.",
}

_CARD = """\
---
{header}---
{mark}
# Synthetic near-boundary images for {classes} classes

{synthetic} images that were synthesized at the boundary of {classes} classes:
out-of-distribution (OOD) samples to train or test detectors with. Each began as an image of one
class and was redrawn by a diffusion model from what surrounds the subject, guided by the gradient
of an energy (SynOOD, Li et al., ICCV 2025, arXiv 2507.10225).

## What is in it

{how}

| field | meaning |
| --- | --- |
| `class`, `class_number` | class of the source image, which this image is meant not to show |
| `negative_label` | prompt of the negative label that is nearest to the image |
| `prompt` | the prompt of the diffusion model |
| `energies`, `losses` | the energy, higher = further out, and the objective, by round or step |
| `source_energy` | energy of the source image |
| `stop` | `target` where the objective was met early, else `rounds` (or `steps`) |
| `seed` | random seed of the image |
| `source`, `source_sha256` | path in the source folder and hash of the source image |
| `sha256` | of the PNG file |

## How many

{synthetic} images, {fewest} to {most} for each class, assigned to {negatives} negative labels; for
{beyond:.0%} the energy ended above that of the source image.

## How it was made

synood {version}, seed {seed}, guided by {guide}, bundle `{bundle}` (fingerprint
`{fingerprint}`). Source images: {images}, fingerprint `{inputs}`. The whole recipe:

```toml
{recipe}```

## Models and licences

{models}

The licences of the source images and of these models decide what the images may be used for;
synood does not know the former.

## Limits

- An image is meant to show no class, and nobody has checked it: some show one.
- The negative label is the nearest one by an encoder; no person has confirmed it.
- Energies are in the unit of the classifier's logits and do not compare between classifiers.
- What the diffusion model has learned about the world, its biases included, is in the images.
"""


def data_card(document: Mapping[str, Any], samples: Sequence[Sample], form: str) -> str:
    """Return the text of README.md; `document` is the run's run.toml."""
    from synood.files import to_toml

    of_class = Counter(sample.class_number for sample in samples)
    beyond = [s.image.energies[-1] > s.image.source_energy for s in samples if s.image.energies]
    models = document["models"]
    return _CARD.format(
        header=_header(len(samples), form),
        mark=MARK,
        how=_HOW[form],
        synthetic=len(samples),
        classes=len(document["inputs"]["classes"]),
        fewest=min(of_class.values()),
        most=max(of_class.values()),
        negatives=len({sample.negative_label for sample in samples}),
        beyond=sum(beyond) / max(len(beyond), 1),
        version=document["versions"]["synood"],
        seed=document["seed"],
        guide=_guide(document),
        bundle=models["bundle"],
        fingerprint=models["fingerprint"],
        images=document["inputs"]["images"],
        inputs=document["inputs"]["fingerprint"],
        recipe=to_toml(document["recipe"]),
        models=_models(models),
    )


def _guide(document: Mapping[str, Any]) -> str:
    method = document["recipe"].get("synthesis", {}).get("method", "inpaint")
    if method != "inpaint":
        return f"nothing (the method was {method!r}, without an in-painting model)"
    if document["recipe"]["guidance"]["objective"] == "margin":
        return "the encoder's margin between class names and negative labels"
    return f"{document['models']['classifier_used']} as classifier"


def _header(images: int, form: str) -> str:
    """The YAML that Hugging Face reads, each value in JSON, which is YAML as well."""
    fields: dict[str, Any] = {
        "pretty_name": "Synthetic near-boundary images",
        "license": "other",
        "license_name": "see-models-and-sources",
        "task_categories": ["image-classification"],
        "tags": ["synthetic", "out-of-distribution", "ood-detection", "synood"],
        "size_categories": [next(name for size, name in _SIZES.items() if images < size)],
    }
    if (pattern := _FILES[form]) is not None:
        fields["configs"] = [{"config_name": "default", "data_files": pattern}]
    return "".join(f"{name}: {json.dumps(value)}\n" for name, value in fields.items())


def _models(models: Mapping[str, Any]) -> str:
    from synood.models.catalog import catalog

    lines = []
    for part in ("describer", "inpainter", "classifier", "encoder"):
        spec = models.get(part)
        if not isinstance(spec, dict):
            continue
        known = catalog().get(str(spec.get("id", "")))
        name = spec.get("id") or spec.get("path") or spec.get("vocabulary")
        licence = known.licence if known else "see the card of the bundle it belongs to"
        revision = f", revision `{spec['revision']}`" if "revision" in spec else ""
        lines.append(f"- {part}: `{name}`{revision}; licence: {licence}")
    lines.append(f"- the descriptions came from describer `{models['describer_used']}`")
    return "\n".join(lines)
