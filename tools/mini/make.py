"""Makes the bundle `mini` from packages, in one command that resumes where it stopped.

    python -m tools.mini.make --work DIR [--painter-minutes 80] [--threads 2]

Fetches the packages, draws the artwork, packs the photographs, trains encoder, classifier,
autoencoder and painter (each resumes where it stopped), assembles the bundle and measures it.
More minutes than last time train the painter further.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from synood.mini.suite import ARTWORK, PHOTOGRAPHS
from tools.mini import (
    artwork,
    assemble,
    evaluate,
    fetch,
    photographs,
    train_classifier,
    train_encoder,
    train_painter,
    train_vae,
)

if TYPE_CHECKING:
    from collections.abc import Sequence


def prepare(work: Path) -> None:
    """Fetch the packages and make what the trainers and the benchmark read."""
    fetch.fetch(work)
    pack = work / "artwork.zip"
    if not pack.is_file():
        artwork.main([str(work / "node_modules"), str(pack), "--shipped", str(ARTWORK)])
    photographs.build_photographs(work / "samples", work / "fashion", PHOTOGRAPHS)
    painter = work / "painter"
    painter.mkdir(exist_ok=True)
    if not (painter / "artwork.zip").exists():
        (painter / "artwork.zip").symlink_to(pack.resolve())


def main(arguments: Sequence[str] | None = None) -> None:
    """Command: python -m tools.mini.make --work DIR."""
    parser = argparse.ArgumentParser(description="Make the bundle `mini` from packages.")
    parser.add_argument(
        "--work", type=Path, required=True, help="working folder, kept between runs"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--vae-minutes", type=float, default=19)
    parser.add_argument("--classifier-minutes", type=float, default=9)
    parser.add_argument("--painter-minutes", type=float, default=76)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    prepare(options.work)
    painter, threads = str(options.work / "painter"), ["--threads", str(options.threads)]
    train_encoder.main(["--work", str(options.work), *threads])
    for trainer, minutes in (
        (train_classifier, options.classifier_minutes),
        (train_vae, options.vae_minutes),
        (train_painter, options.painter_minutes),
    ):
        trainer.main(["--work", painter, "--minutes", str(minutes), *threads])
    assemble.main(["--work", str(options.work)])
    evaluate.main([
        "--stamps", str(options.work / "stamps"), "--fashion", str(options.work / "fashion"),
        "--sheet", str(options.work / "sheet.png"),
    ])  # fmt: skip


if __name__ == "__main__":
    main()
