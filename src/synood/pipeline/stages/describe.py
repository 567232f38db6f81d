"""Describe: what surrounds each image's subject -> the prompt that redraws the image."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from synood.features.unreadable import Unreadable
from synood.files import fingerprint, read_jsonl, write_jsonl
from synood.pipeline.executors.tasks import Describe
from synood.pipeline.rundir.quarantine import bad_images

if TYPE_CHECKING:
    from pathlib import Path

    from synood.models.prompt_limits import PromptLimits
    from synood.pipeline.stages.context import RunContext
    from synood.pipeline.stages.embed import Selection
    from synood.settings import DescribeSettings

BATCH = 16  # images described together
SAVES = 20  # how often describe.jsonl is written on the way; a kill loses a twentieth


def describe(run: RunContext, selection: Selection) -> dict[str, str]:
    """Return the in-painting prompt of each image to redraw, by its id; describe.jsonl keeps them.

    A new text whose prompt is too long for the in-painting model is shortened; one changed by hand
    in that file is used as it stands. Images that cannot be read or described are quarantined.
    """
    path, models, settings = run.root / "describe.jsonl", run.models, run.recipe.describe
    progress = run.progress("describe")
    images = selection.used_for("tune")
    inputs = {
        image.id: fingerprint(
            "describe", image.sha256, image.label, image.id, models.describer_fingerprint
        )
        for image in images
    }
    rows = {row["inputs"]: row for row in _rows(path) if "inputs" in row}
    missing = [image for image in images if inputs[image.id] not in rows]
    done = len(images) - len(missing)

    limits = models.bundle.prompt_limits() if missing else None
    if limits is not None:
        limits.check_template(settings.template)  # before any description is paid for
    if missing and (plan := models.describing_plan(len(missing))):
        progress(0, 0, plan)

    def save() -> None:
        write_jsonl(path, [rows[key] for key in inputs.values() if key in rows])

    batches = [missing[start : start + BATCH] for start in range(0, len(missing), BATCH)]
    jobs = [[(image, selection.features[image.id][0]) for image in batch] for batch in batches]
    saved, shortened = done, 0
    for number, texts in run.executor.run(Describe(models), jobs):
        for image, text in zip(batches[number], texts, strict=True):
            if not isinstance(text, Unreadable):
                texts_kept = _shortened(text, limits, settings)
                shortened += len(texts_kept) - 1
                row = {"id": image.id, **texts_kept, "describer": models.describer.id}
                rows[inputs[image.id]] = {**row, "inputs": inputs[image.id]}
        done += len(texts)
        if done - saved > len(missing) // SAVES:
            save()
            saved = done
        run.quarantine("describe", bad_images(batches[number], texts))
        last = texts[-1]
        progress(done, len(images), last.reason if isinstance(last, Unreadable) else last)
    save()
    if shortened:
        run.workspace.notify(
            "describe",
            f"{shortened} of {len(missing)} descriptions shortened to what the in-painting "
            f"model's text tower takes; {path.name} has both",
        )
    progress(len(images), len(images), "")
    return {
        image.id: inpainting_prompt(str(rows[inputs[image.id]]["text"]), settings)
        for image in images
        if inputs[image.id] in rows
    }


def _shortened(
    text: str, limits: PromptLimits | None, settings: DescribeSettings
) -> dict[str, str]:
    """Return the text that fits the in-painting model and, where it was cut, the full one."""
    if limits is None:
        return {"text": text}
    short = limits.shortened(text, partial(inpainting_prompt, settings=settings))
    return {"text": text} if short == text else {"text": short, "full_text": text}


def inpainting_prompt(text: str, settings: DescribeSettings) -> str:
    """Put the description of the context, cut if the recipe says so, into the template."""
    return settings.template.replace("{}", text[: settings.max_characters])


def _rows(path: Path) -> list[dict[str, Any]]:
    return read_jsonl(path) if path.exists() else []
