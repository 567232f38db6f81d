"""run.toml: everything that defines a run, and nothing that differs when it is repeated."""

from __future__ import annotations

import platform
from dataclasses import asdict
from importlib import metadata
from typing import TYPE_CHECKING

import synood
from synood.files import fingerprint, to_toml, write_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from synood.models.loaded import Models
    from synood.pipeline.rundir.selection import SelectedImage
    from synood.settings import Recipe

SCHEMA = 1
LIBRARIES = ("numpy", "pillow", "torch", "transformers", "diffusers", "safetensors")
_COMMENT = "A run of synood. `synood fit --recipe` reads the table [recipe] of this file."


def write_run_file(
    path: Path,
    models: Models,
    recipe: Recipe,
    seed: int,
    class_names: Sequence[str],
    images: Sequence[SelectedImage],
    guide: str,
    negatives: str | None = None,
) -> None:
    """Write the whole recipe, the models, the fingerprint of the images used and the versions."""
    contents = [(image.id, image.label, image.sha256) for image in images]
    document = {
        "schema": SCHEMA,
        "seed": seed,
        "inputs": {
            "classes": class_names,
            "images": len(images),
            "fingerprint": fingerprint(contents),
            **({} if negatives is None else {"negatives": negatives}),
        },
        "models": {"classifier_used": guide, **_models(models)},
        "versions": _versions(),
        "recipe": asdict(recipe),
    }
    write_text(path, to_toml(document, _COMMENT))


def _models(models: Models) -> dict[str, object]:
    bundle = models.bundle
    keys = ("type", "id", "revision", "dtype", "path", "vocabulary", "preprocess")
    parts = {
        part: {
            **{key: bundle.spec[part][key] for key in keys if key in bundle.spec[part]},
            **bundle.from_hub(part),
        }
        for part in ("encoder", "inpainter", "classifier", "describer")
        if part in bundle.spec
    }
    return {
        "bundle": bundle.name,
        "fingerprint": bundle.fingerprint,
        "describer_used": models.describer_fingerprint,
        "inpainter_dtype": models.inpainter_dtype,
        **parts,
    }


def _versions() -> dict[str, str]:
    versions = {"synood": synood.__version__, "python": platform.python_version()}
    for library in LIBRARIES:
        try:
            versions[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            versions[library] = "absent"
    return versions
