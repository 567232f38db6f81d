"""Roots of a few tiny pictures at the very paths that the benchmarks' owners publish.

Written from the owners' instructions (MOS, MCM, NegLabel, OpenOOD, NINCO), not from the catalogue
that is tested with them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from small_suite import save_noise

if TYPE_CHECKING:
    from pathlib import Path

WNIDS = {"n01440764": (200, 40, 40), "n04008634": (40, 200, 40), "n03773504": (40, 40, 200)}
NAMES = ("tench", "missile [n03773504]", "missile [n04008634]")  # in the order of the ids
NUMBERS = {"n01440764": 0, "n03773504": 657, "n04008634": 744}  # places among the 1,000
GREY = (128, 128, 128)
EACH = {"train": 4, "val": 3}
OOD = 5  # images of an OOD set


def write_imagenet(root: Path, seed: int = 0) -> None:
    """`train` and `val` with a folder per WordNet id, as torchvision and all others read it."""
    rng = np.random.default_rng([seed, 1])
    for part, each in EACH.items():
        for wnid, colour in WNIDS.items():
            save_noise(root / part / wnid, colour, each, rng)


def write_mos(root: Path, textures: str = "dtd/images") -> None:
    """The MOS subsets as their archives unpack, and DTD beside them."""
    rng = np.random.default_rng(2)
    for folder in ("iNaturalist/images", "SUN/images", "Places/images"):
        save_noise(root / folder, GREY, OOD, rng)
    for texture in ("banded", "zigzagged"):
        save_noise(root / textures / texture, GREY, OOD, rng)


def write_openood(root: Path) -> None:
    """The folders and lists of OpenOOD v1.5 for ImageNet-1k."""
    rng = np.random.default_rng(3)
    lists: dict[str, list[str]] = {}
    large, classic = root / "images_largescale", root / "images_classic"
    for wnid, colour in WNIDS.items():
        save_noise(large / "imagenet_1k/train" / wnid, colour, 4, rng)
        names = [f"imagenet_1k/train/{wnid}/{i:04d}.png {NUMBERS[wnid]}" for i in range(4)]
        lists.setdefault("train_imagenet", []).extend(names)
    for start, (wnid, colour) in enumerate(WNIDS.items()):
        save_noise(large / "imagenet_1k/val" / wnid, colour, 4, rng)
        names = [f"imagenet_1k/val/{wnid}/{i:04d}.png {NUMBERS[wnid]}" for i in range(4)]
        lists.setdefault("val_imagenet", []).append(names[start])
        lists.setdefault("test_imagenet", []).extend(names[:start] + names[start + 1 :])
    for name, folder, top in (
        ("test_ssb_hard", "ssb_hard/n11622368", large),
        ("test_ninco", "ninco/amphiuma_means", large),
        ("test_inaturalist", "inaturalist/images", large),
        ("test_textures", "texture/banded", classic),
        ("test_openimage_o", "openimage_o/images", large),
    ):
        save_noise(top / folder, GREY, OOD + 1, rng)
        lists[name] = [f"{folder}/{i:04d}.png -1" for i in range(OOD)]
    lists["val_openimage_o"] = [f"openimage_o/images/{OOD:04d}.png -1"]
    for name, rows in lists.items():
        path = root / f"benchmark_imglist/imagenet/{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{row}\n" for row in rows))


def write_clean(root: Path) -> None:
    """The folders that NegRefine's data directory holds, ImageNet left out."""
    rng = np.random.default_rng(4)
    for folder in (
        "iNaturalist/images",
        "openimage_o/images",
        "NINCO_OOD_classes/amphiuma_means",
        "NINCO_popular_datasets_subsamples/Places",
    ):
        save_noise(root / folder, GREY, OOD, rng)


def write_near(root: Path) -> None:
    """NINCO as its archive unpacks, and OpenOOD's folder and list of SSB-hard."""
    rng = np.random.default_rng(5)
    save_noise(root / "NINCO_OOD_classes/amphiuma_means", GREY, OOD, rng)
    save_noise(root / "images_largescale/ssb_hard/n11622368", GREY, OOD, rng)
    path = root / "benchmark_imglist/imagenet/test_ssb_hard.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"ssb_hard/n11622368/{i:04d}.png -1\n" for i in range(OOD)))
