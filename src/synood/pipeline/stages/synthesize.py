"""Synthesize: each selected image is redrawn from its prompt, guided across the boundary."""

from __future__ import annotations

import time
from collections import Counter
from hashlib import sha256
from typing import TYPE_CHECKING, Literal, TypeAlias

from synood.features.unreadable import Unreadable
from synood.files import fingerprint
from synood.pipeline.executors.tasks import FitBatchSize, Synthesize
from synood.pipeline.rundir.quarantine import bad_images, refuse
from synood.pipeline.rundir.shards import (
    ShardWriter,
    SynthesisRequest,
    SyntheticImage,
    read_synthetic,
    tidy,
)
from synood.pipeline.stages.target import (
    measure_energies,
    notify_if_idle,
    with_quantile_target,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from synood.models.guide import GuideSpec
    from synood.models.latents import LatentInpainter
    from synood.pipeline.executors.synthesizer import (
        BatchSynthesizer,
        Job,
        SourceImage,
        SynthesizedBatch,
    )
    from synood.pipeline.rundir.quarantine import OnBadImages
    from synood.pipeline.rundir.selection import SelectedImage
    from synood.pipeline.rundir.workspace import Workspace
    from synood.pipeline.stages.context import RunContext
    from synood.pipeline.stages.guide import GuideChoice
    from synood.settings import GuidanceSettings
    from synood.synthesis.guidance import Rendered

    Batches = Iterator[tuple[int, SynthesizedBatch]]

BatchSize: TypeAlias = int | Literal["auto"]
BATCH_SIZE = 8  # images synthesized together
GIGABYTE = 1e9


def synthesize(
    run: RunContext,
    images: Sequence[SelectedImage],
    prompts: Mapping[str, str],
    guide: GuideChoice,
    batch_size: BatchSize,
) -> list[SyntheticImage]:
    """Return one synthetic image for each image that has a prompt; make those that are missing.

    Images that cannot be read any more are quarantined.
    """
    settings, directory = run.recipe.guidance, run.root / "synthesize"
    made = synthesize_kind(run, images, prompts, guide, batch_size, settings, directory)
    notify_if_idle(settings, made, run.workspace)
    return made


def synthesize_kind(
    run: RunContext,
    images: Sequence[SelectedImage],
    prompts: Mapping[str, str],
    guide: GuideChoice,
    batch_size: BatchSize,
    guidance: GuidanceSettings,
    directory: Path,
) -> list[SyntheticImage]:
    """As `synthesize`, with other settings and in another directory."""
    fingerprints = run.models.inpainter_fingerprint, guide.fingerprint
    while True:
        requests = synthesis_requests(images, prompts, run.seed, guidance, fingerprints)
        found = read_synthetic(directory)
        missing = [request for request in requests if request.inputs not in found]
        if not missing:
            break
        if guidance.method == "step":
            run.models.inpainter.check_steerable()
        run.models.inpainter.check_prompts(sorted({request.prompt for request in missing}))
        spec = guide.make()
        sources = _source_images(run, requests, spec, guidance)
        if any(request.inputs not in sources for request in requests):
            # the target is that of the readable images, so what is guided to it is another image
            images = run.quarantine.without(images, lambda image: image.id)
            continue
        found |= _synthesize_missing(run, missing, sources, spec, batch_size, guidance, directory)
        break
    made = tidy(directory, found, [request for request in requests if request.inputs in found])
    run.progress("synthesize")(len(requests), len(requests), "")
    return made


def _source_images(
    run: RunContext,
    requests: Sequence[SynthesisRequest],
    spec: GuideSpec,
    guidance: GuidanceSettings,
) -> Mapping[str, SourceImage | None]:
    """Return each request's source image by `inputs`, measured if the target depends on it.

    Images that cannot be read are quarantined and absent.
    """
    if guidance.target_quantile is None:
        return {request.inputs: None for request in requests}
    measured = measure_energies(run, requests, spec)
    run.quarantine("synthesize", bad_images(requests, measured))
    return {
        request.inputs: source
        for request, source in zip(requests, measured, strict=True)
        if not isinstance(source, Unreadable)
    }


def _synthesize_missing(
    run: RunContext,
    missing: Sequence[SynthesisRequest],
    sources: Mapping[str, SourceImage | None],
    spec: GuideSpec,
    batch_size: BatchSize,
    settings: GuidanceSettings,
    directory: Path,
) -> dict[str, SyntheticImage]:
    """Have the executor synthesize, and write the images as they come."""
    workspace = run.workspace
    measured = [source for source in sources.values() if source is not None]
    if settings.target_quantile is not None:
        settings = with_quantile_target(settings, measured, workspace)
    if batch_size == "auto":
        task = FitBatchSize(run.models, spec, settings)
        ((_, batch_size),) = run.executor.run(task, [len(sources)])
        workspace.notify("synthesize", f"batch size {batch_size} fits", batch_size=batch_size)
    jobs = [(request, sources[request.inputs]) for request in missing]
    batches = [jobs[start : start + batch_size] for start in range(0, len(jobs), batch_size)]
    results = run.executor.run(Synthesize(run.models, spec, settings, batch_size), batches)
    results = _with_cost(results, run.models.inpainter, batch_size, workspace)
    done = len(sources) - len(missing)
    return write_results(directory, batches, results, workspace, run.quarantine, done)


def synthesize_here(
    directory: Path,
    requests: Sequence[SynthesisRequest],
    make_synthesizer: Callable[[], BatchSynthesizer],
    workspace: Workspace,
) -> list[SyntheticImage]:
    """As `synthesize`, for any synthesizer in this process; every image must be readable.

    `make_synthesizer` is called when an image is missing: it loads the models.
    """
    found = read_synthetic(directory)
    missing = [request for request in requests if request.inputs not in found]
    if missing:
        synthesizer = make_synthesizer()
        synthesizer.check_prompts([request.prompt for request in missing])
        jobs: list[Job] = [(request, None) for request in missing]
        size = synthesizer.batch_size
        batches = [jobs[start : start + size] for start in range(0, len(jobs), size)]
        results = enumerate(map(synthesizer.synthesize, batches))
        done = len(requests) - len(missing)
        found |= write_results(directory, batches, results, workspace, refuse, done)
    workspace.stage("synthesize")(len(requests), len(requests), "")
    return tidy(directory, found, requests)


def synthesis_requests(
    images: Sequence[SelectedImage],
    prompts: Mapping[str, str],
    seed: int,
    settings: GuidanceSettings,
    model_fingerprints: Sequence[str],
) -> list[SynthesisRequest]:
    """Return a request for each image with a prompt, with the fingerprint of all it depends on.

    The same image twice is synthesized twice, alike, so that each request has a file of its own.
    """
    described = [image for image in images if image.id in prompts]
    shared_target = settings.target_quantile is not None  # then it depends on every image
    all_images = sorted(image.sha256 for image in described) if shared_target else []
    requests, copies = [], Counter[str]()
    for image in described:
        prompt, own_seed = prompts[image.id], image_seed(seed, image.sha256)
        inputs = (
            image.sha256,
            prompt,
            own_seed,
            settings.effective(),
            [*model_fingerprints],
            all_images,
        )
        key = fingerprint("synthesize", *inputs)
        copies[key] += 1
        if copies[key] > 1:
            key = fingerprint(key, copies[key])
        requests.append(SynthesisRequest(image.id, image.path, image.sha256, prompt, own_seed, key))
    return requests


def image_seed(run_seed: int, image_sha256: str) -> int:
    """Return the seed of one image's random numbers, in [0, 2^63): of the run and the content.

    A renamed image, or one among others, is synthesized as before.
    """
    digest = sha256(f"{run_seed}:{image_sha256}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def write_results(
    directory: Path,
    batches: Sequence[Sequence[Job]],
    results: Batches,
    workspace: Workspace,
    on_bad_images: OnBadImages,
    done: int,
) -> dict[str, SyntheticImage]:
    """Write results as they come, shard by shard; `done` images are there already."""
    progress, total = workspace.stage("synthesize"), done + sum(map(len, batches))
    requests = [[request for request, _ in batch] for batch in batches]
    shards, written = ShardWriter(directory, requests), dict[str, SyntheticImage]()
    finished = done
    for number, result in results:
        finished += len(result.results)
        progress(finished, total, requests[number][-1].prompt)
        _track_losses(workspace, result.results)
        if made := shards.add(number, result.results):
            written.update({image.inputs: image for image in made})
            workspace.log("shard", images=len(made), done=done + len(written))
        on_bad_images("synthesize", bad_images(requests[number], result.results))
    return written


def _track_losses(workspace: Workspace, results: Sequence[Rendered | Unreadable]) -> None:
    """Log the mean objective of the images of a batch, of those that were guided."""
    last = [item.losses[-1] for item in results if not isinstance(item, Unreadable) and item.losses]
    if last:
        workspace.tracking.log({"synthesize/loss": sum(last) / len(last)})


def _with_cost(
    results: Batches, inpainter: LatentInpainter, batch_size: int, workspace: Workspace
) -> Batches:
    """Pass results on, report what memory forced to change, and in the end pace and memory."""
    start, count, peak = time.monotonic(), 0, 0
    for number, batch in results:
        for notice in batch.notices:
            workspace.notify("synthesize", notice)
        count += sum(not isinstance(result, Unreadable) for result in batch.results)
        peak = max(peak, batch.peak_memory)
        yield number, batch
    seconds = time.monotonic() - start
    rate, device, dtype = (
        3600 * count / max(seconds, 1e-9),
        str(inpainter.device),
        inpainter.precision,
    )
    workspace.notify(
        "synthesize",
        f"{count} images synthesized, {rate:.0f} an hour, in at most {peak / GIGABYTE:.1f} GB "
        f"({device}, {dtype}, batch size {batch_size})",
        images=count,
        seconds=round(seconds, 3),
        images_per_hour=round(rate, 1),
        peak_memory_bytes=peak,
        device=device,
        dtype=dtype,
        batch_size=batch_size,
    )
