"""`synood push`: a detector published on the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - the command line reads the annotations
from typing import Annotated

from cyclopts import Parameter

from synood.cli.console import deliver, warn
from synood.cli.options import Flag  # noqa: TC001


def push(
    detector: Path,
    repo: str,
    /,
    *,
    private: Flag = False,
    revision: str | None = None,
    license: str | None = None,
    results: Path | None = None,
    dataset: str | None = None,
    message: str | None = None,
    overwrite: Annotated[Flag, Parameter(name="--overwrite")] = False,
) -> None:
    """Publish a detector on the Hugging Face hub, with its card, in one commit.

    Whoever knows its id can score with `synood score OWNER/NAME IMAGE`, if the encoder is one \
that comes with synood or lies on the hub. The access token is that of `hf auth login` or HF_TOKEN.

    Parameters
    ----------
    detector
        Directory of the detector.
    repo
        Id of the repository, OWNER/NAME; it is made if it does not exist.
    private
        Make the repository private.
    revision
        Branch to push to, made if it does not exist; "main" if not given.
    license
        Licence of the detector for its card, such as apache-2.0.
    results
        File of `synood evaluate`, for a table in the card.
    dataset
        Hub id of the benchmark that the results are of; they become .eval_results too.
    message
        Message of the commit.
    overwrite
        Replace the detector that is there, in a new commit.
    """
    from synood.detector import OODDetector

    loaded = OODDetector.from_pretrained(detector, device="cpu")
    address = loaded.push_to_hub(
        repo,
        private=private,
        revision=revision,
        license=license,
        results=results,
        dataset=dataset,
        commit_message=message,
        overwrite=overwrite,
    )
    if license is None:
        warn(
            "the card names no licence, so others may not use the detector; give one with --license"
        )
    if not (loaded.backbone.is_absent or loaded.backbone.is_public):
        warn("its encoder is a folder of this machine: who loads it needs that too, as --models")
    full = "/".join(address.partition("/commit/")[0].split("/")[-2:])  # with an owner in any case
    at = full if revision is None else f"{full}@{revision}"
    deliver(f"pushed: {address}\nnext: synood score {at} IMAGE\n")
