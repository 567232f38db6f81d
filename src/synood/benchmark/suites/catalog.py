"""The known benchmarks: their sets, image counts, layouts and sources.

Counts and hashes come from the owners' lists as found in public repositories: OpenOOD's imglists
in facebookresearch/UnifiedUncertaintyCalibration at 6718913 (six of them also, under other path
prefixes, in ZhikangXu0112/InterNeg at e016202, which has the file names of the MOS subsets too),
NINCO's tables in j-cb/NINCO at 8f42ce7. Where no public copy was found the hash is None.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from synood.errors import InputError

if TYPE_CHECKING:
    from synood.benchmark.suites.mini import Split
    from synood.benchmark.suites.suite import Group, Role

MINI: dict[str, Split] = {
    "mini": "hard",
    "mini-main": "main",
    "mini-crowded": "crowded",
}  # name -> split of the embedded world

# Where folders are looked for below the root; the first that exists is taken. MOS, MCM, NegLabel,
# SynOOD and OpenOOD each use a layout of their own, and so do people who unpack the archives.
_IMAGENET = (
    *("ImageNet", "imagenet", "ILSVRC-2012", "id_data/ILSVRC-2012", "dataset/id_data/ILSVRC-2012"),
    *("imagenet_1k", "images_largescale/imagenet_1k", "data/images_largescale/imagenet_1k", ""),
)
_OOD = ("", "ood_data", "dataset/ood_data", "ImageNet_OOD_dataset", "data")
_OPENOOD = ("", "data")


@dataclass(frozen=True)
class KnownSet:
    """One image set of a benchmark as its owners ship it.

    Attributes:
        name: as the tables print it.
        group: `near` and `far` are averaged separately.
        role: what the set may be used for.
        places: folders below the root; the first that exists is taken.
        count: number of images in the owners' set.
        source: where to get it.
        imglist: the owners' list; paths in it are below the folder of `places`.
        list_hash: SHA-256 of the list's lines, sorted; the order does not matter.
        names_hash: SHA-256 of the file names in the folder, sorted.
        by_class: one folder per class, named by WordNet id.
    """

    name: str
    group: Group
    role: Role
    places: tuple[str, ...]
    count: int
    source: str
    imglist: str | None = None
    list_hash: str | None = None
    names_hash: str | None = None
    by_class: bool = False


@dataclass(frozen=True)
class Benchmark:
    """A benchmark by name; `note` is what a reader of its results must know.

    `figures_of` are benchmarks with the same in-distribution images, whose published figures of
    single sets are this one's too.
    """

    name: str
    title: str
    paper: str
    note: str
    sets: tuple[KnownSet, ...]
    figures_of: tuple[str, ...] = ()


def find_benchmark(name: str) -> Benchmark:
    """Return a benchmark by name; an unknown name is an `InputError` that lists the known."""
    if name not in BENCHMARKS:
        raise InputError(f"benchmark {name!r} is unknown; use one of {', '.join(BENCHMARKS)}")
    return BENCHMARKS[name]


def _below(tops: tuple[str, ...], *folders: str) -> tuple[str, ...]:
    return tuple("/".join(part for part in pair if part) or "." for pair in product(tops, folders))


_FROM_IMAGENET = "ILSVRC 2012 from https://www.image-net.org/download.php (registration)"
_FROM_MOS = "http://pages.cs.wisc.edu/~huangrui/imagenet_ood_dataset/{}.tar.gz (MOS subset)"
_FROM_NINCO = "https://zenodo.org/record/8013288/files/NINCO_all.tar.gz"
_LISTS = "its list from https://drive.google.com/uc?id=1lI1j0_fDDvjIt9JlWAw09X8ks-yrR_H1"
_FROM_OPENOOD = "scripts/download/download.py of https://github.com/Jingkang50/OpenOOD"
_VAL_NAMES = "c212211fc64b53a65e24dea8698efd5a820b32d33bc6065776993462893e114d"
_INAT_NAMES = "aa572d8c424fdb9779235b004b22f51736f9021331852c3e529742fa91f841d9"

_TRAIN = KnownSet(
    "ImageNet train", "id", "train", _below(_IMAGENET, "train"), 1_281_167, _FROM_IMAGENET,
    by_class=True,
)  # fmt: skip
_VAL = KnownSet(
    "ImageNet val", "id", "test", _below(_IMAGENET, "val"), 50_000, _FROM_IMAGENET,
    names_hash=_VAL_NAMES, by_class=True,
)  # fmt: skip
_INATURALIST = KnownSet(
    "iNaturalist", "far", "test", _below(_OOD, "iNaturalist/images", "iNaturalist"), 10_000,
    _FROM_MOS.format("iNaturalist"), names_hash=_INAT_NAMES,
)  # fmt: skip


def _mos(name: str, names_hash: str) -> KnownSet:
    places = _below(_OOD, f"{name}/images", name)
    return KnownSet(
        name, "far", "test", places, 10_000, _FROM_MOS.format(name), names_hash=names_hash
    )


def _ninco(name: str, group: Group, folder: str, count: int, names_hash: str) -> KnownSet:
    tops = (*_OOD, "NINCO", "NINCO_all")
    return KnownSet(
        name, group, "test", _below(tops, folder), count, _FROM_NINCO, names_hash=names_hash
    )


def _openood(
    name: str,
    group: Group,
    role: Role,
    imglist: str,
    count: int,
    list_hash: str | None,
    folder: str = "images_largescale",
) -> KnownSet:
    source = f"{_FROM_IMAGENET if name.startswith('ImageNet') else _FROM_OPENOOD}; {_LISTS}"
    return KnownSet(
        name, group, role, _below(_OPENOOD, folder), count, source,
        imglist=f"benchmark_imglist/imagenet/{imglist}.txt", list_hash=list_hash,
    )  # fmt: skip


_IMAGENET_4 = Benchmark(
    "imagenet-4",
    "ImageNet-1k against iNaturalist, SUN, Places and Textures",
    "Huang and Li, MOS, CVPR 2021, arXiv 2105.01879",
    "The benchmark has no validation images: methods are measured with their published settings. "
    "According to Bitterwolf et al. (ICML 2023), 59.5 % of Places and 26.2 % of SUN show an "
    "ImageNet class: compare with `clean`.",
    (
        _TRAIN,
        _VAL,
        _INATURALIST,
        _mos("SUN", "15934717d2bd74db8d52422c896a28d09c72657195e001105f39c627e08c7570"),
        _mos("Places", "9150ab05df43d4f48d17087e9518a47f81f78bca33fd28260cb8686bcb8d0500"),
        KnownSet(
            "Textures", "far", "test",
            _below(_OOD, "dtd/images", "Textures/dtd/images_collate", "Textures/dtd/images",
                   "Textures/images"),
            5_640, "https://www.robots.ox.ac.uk/~vgg/data/dtd/ (dtd-r1.0.1.tar.gz)",
        ),
    ),
)  # fmt: skip

_SSB_HARD = _openood(
    "SSB-hard", "near", "test", "test_ssb_hard", 49_000,
    "939c32c057fbf809ab910e0e700c55bf136c4a4c18a8b4258b8377a2ce7a4f68",
)  # fmt: skip
_NINCO = _ninco(
    "NINCO", "near", "NINCO_OOD_classes", 5_879,
    "7478023a99958f0fde39fa6262bd46bac65abfb04ca0824992ca5d7e45c66ed2",
)  # fmt: skip

_IMAGENET_NEAR = Benchmark(
    "imagenet-near",
    "ImageNet-1k: near SSB-hard, NINCO; far iNaturalist, SUN, Places, Textures",
    "the near sets of OpenOOD v1.5, arXiv 2306.09301, and the four of MOS, arXiv 2105.01879",
    "The benchmark has no validation images: methods are measured with their published settings. "
    "SUN and Places hold ImageNet's classes, as in `imagenet-4`; NINCO was checked image by image.",
    (_TRAIN, _VAL, _SSB_HARD, _NINCO, *(s for s in _IMAGENET_4.sets if s.group != "id")),
    figures_of=("imagenet-4", "clean"),
)

_OPENOOD_1K = Benchmark(
    "openood",
    "OpenOOD v1.5 for ImageNet-1k: near SSB-hard, NINCO; far iNaturalist, Textures, OpenImage-O",
    "Zhang et al., OpenOOD v1.5, DMLR 2024, arXiv 2306.09301",
    "Settings may be chosen on 5,000 validation images of ImageNet and 1,763 of OpenImage-O. The "
    "latter come from the same source as a far test set, so the choices favour far OOD.",
    (
        _openood("ImageNet train", "id", "train", "train_imagenet", 1_281_167, None),
        _openood("ImageNet val, held out", "id", "validation", "val_imagenet", 5_000,
                 "5bbae85782576369a302b1e1f4ef785dce9f5874d974ea4943234d966589577e"),
        _openood("OpenImage-O, held out", "far", "validation", "val_openimage_o", 1_763,
                 "c37d36484537499f401ce37d887d26749c317224fbd8c9073c48d342d9399fc9"),
        _openood("ImageNet val", "id", "test", "test_imagenet", 45_000,
                 "61a583bf2190c8c9a0fcb971787125fb5c1d19f097356e20467819a16513865e"),
        _SSB_HARD,
        _openood("NINCO", "near", "test", "test_ninco", 5_879,
                 "6e06243c70a43bda85081a0551cab287b462ed3e1abbbf7e40e2557846db2b1e"),
        _openood("iNaturalist", "far", "test", "test_inaturalist", 10_000,
                 "2d5c3c052f297873103c3a229d535bd9e6cf2c55f0299bf39f4b25dbb4e947c0"),
        _openood("Textures", "far", "test", "test_textures", 5_160,
                 "9cf1ff7e97ce67ea61a8bb1ffc17bb845ae06e1d22bfebc74c3c0aa284a408c9",
                 "images_classic"),
        _openood("OpenImage-O", "far", "test", "test_openimage_o", 15_869,
                 "67a70fba3d1d4aeb2292d80ca171653fe2e5ca421d9bce71666c4f05e42d3528"),
    ),
)  # fmt: skip

_IMAGENET_O = Benchmark(
    "imagenet-o",
    "ImageNet-1k against ImageNet-O, images chosen to fool a ResNet-50",
    "Hendrycks et al., CVPR 2021, arXiv 1907.07174",
    "All 50,000 validation images are in-distribution; the owners use those of 200 classes.",
    (
        _TRAIN,
        _VAL,
        KnownSet(
            "ImageNet-O", "near", "test",
            _below(("", "ood_data", "images_largescale", "data/images_largescale"), "imagenet-o",
                   "imagenet_o"),
            2_000, "https://people.eecs.berkeley.edu/~hendrycks/imagenet-o.tar",
            names_hash="48c6ead5a3fb8697ed6877ca474b34fb4f19437f5ad6555b9145256f64a1e4bd",
        ),
    ),
)  # fmt: skip

_CLEAN = Benchmark(
    "clean",
    "ImageNet-1k against sets without ImageNet's classes: NINCO, its authors' Clean, and others",
    "Ansari et al., NegRefine, ICCV 2025, arXiv 2507.09795; sets of Bitterwolf et al., ICML 2023",
    "Clean has the images of eleven OOD sets in which NINCO's authors found no class. No "
    "validation images: methods are measured with their published settings.",
    (
        _TRAIN,
        _VAL,
        _NINCO,
        _INATURALIST,
        KnownSet(
            "OpenImage-O", "far", "test",
            _below(("", "ood_data", "images_largescale", "data/images_largescale"), "openimage_o"),
            17_632, _FROM_OPENOOD,
            names_hash="f1ef7273bb91063c87b11f04afdc609cbc04621129abe9966dc2e513a2a86935",
        ),
        _ninco("Clean", "far", "NINCO_popular_datasets_subsamples", 2_715,
               "7d22154c0c5e26088894b1f209b0182c4451b70d78f12c67dc0a349b16caceed"),
    ),
)  # fmt: skip

BENCHMARKS: dict[str, Benchmark] = {
    **{
        name: Benchmark(
            name,
            f"the embedded mini world, {split} split",
            "synood's own, made from drawings and photographs in the package",
            "Written when it is first used; no download.",
            (),
        )
        for name, split in MINI.items()
    },
    **{item.name: item for item in (_IMAGENET_4, _OPENOOD_1K, _IMAGENET_O, _CLEAN, _IMAGENET_NEAR)},
}
