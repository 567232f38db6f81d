"""`synood explain`: why images have their scores."""

from __future__ import annotations

from functools import partial
from pathlib import Path  # noqa: TC003 - the command line reads the annotations

from synood.cli.console import deliver, reporter
from synood.cli.options import Device, Images, MovedModels  # noqa: TC001


def explain(
    detector: Path,
    /,
    *images: Images,
    models: MovedModels = None,
    device: Device = "auto",
) -> None:
    """Say why images have their scores: the classes and negative labels they are nearest to.

    The numbers behind the names are cosines with their texts, as the score compares them. \
`synood score --explain` has the same as columns.

    Parameters
    ----------
    detector
        Directory of the detector, or its id OWNER/NAME on the Hugging Face hub.
    """
    from synood.cli.explaining import explained_text
    from synood.cli.inputs import load_detector, warn_of_photographs
    from synood.cli.verdicts import Tally
    from synood.detector.rows import path_text
    from synood.files import printable
    from synood.images.listing import listed_images
    from synood.pipeline.executors.local import LocalExecutor
    from synood.pipeline.scoring import iter_index

    index = listed_images(images)
    loaded = load_detector(detector, device, models)
    warn_of_photographs(loaded, index)
    tally = Tally()
    with reporter() as progress:
        told = partial(progress, "explain")
        found = [*tally.of(iter_index(loaded, index, LocalExecutor(), told, explain=True))]
    texts = (explained_text(one, path_text(one), loaded) for one in found)
    deliver("\n".join("".join(f"{printable(x)}\n" for x in text.splitlines()) for text in texts))
    tally.refuse_unscored()
