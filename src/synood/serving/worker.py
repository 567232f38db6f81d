"""The one worker of a server: threads decode images, one thread hands them on in batches.

Most encoders take one image at a time on a processor (`features.encoding`): there a batch costs as
much as its images one by one, and a decoded image goes at once. Where an encoder takes several
together, fewer are padded and cost as much, so a decoded image waits for others that are on their
way, `max_wait` at the longest, and goes at once where there are none.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import Counter, deque
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from synood.detector import Prediction
from synood.errors import InputError
from synood.features.extractor import BATCH
from synood.serving.faults import busy, too_large

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

    from synood.features.extractor import Feature, FeatureExtractor
    from synood.serving.limits import Limits
    from synood.serving.metrics import Metrics
    from synood.serving.served import Served

_log = logging.getLogger("synood.serving")


@dataclass(eq=False)
class Job:
    """One image of a request; `future` gets its prediction, also where it cannot be read."""

    served: Served
    name: str
    data: bytes
    explain: bool = False
    future: Future[Prediction] = field(default_factory=Future)
    image: Image | None = None
    ready: float = 0.0  # when it was decoded


class Worker:
    """Answers jobs; `submit` them from any thread. Stops with `stop`, which cancels what waits."""

    def __init__(self, limits: Limits, metrics: Metrics) -> None:
        self._limits, self._metrics = limits, metrics
        self._changed = threading.Condition()
        self._requests: deque[deque[Job]] = deque()  # to be decoded, in turns
        self._ready: dict[FeatureExtractor, deque[Job]] = {}  # decoded
        self._coming: Counter[FeatureExtractor] = Counter()  # to be decoded or being so
        self._waiting = 0  # images that have no answer yet
        self._seconds_per_image = 0.1
        self._stopped = False
        names = [("decode", self._decode)] * limits.decoders + [("encode", self._encode)]
        self._threads = [
            threading.Thread(target=act, name=f"synood-{name}", daemon=True) for name, act in names
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """Images that have no answer yet."""
        return self._waiting

    @property
    def alive(self) -> bool:
        """Whether every thread runs."""
        return all(thread.is_alive() for thread in self._threads)

    def submit(self, jobs: Sequence[Job]) -> None:
        """Take the images of one request, all or none; `RequestError` where there is no room."""
        if len(jobs) > self._limits.max_queue:
            raise too_large(f"{len(jobs)} images are more than the queue has places")
        with self._changed:
            if self._waiting + len(jobs) > self._limits.max_queue:
                seconds = math.ceil(self._waiting * self._seconds_per_image)
                raise busy("the queue is full; try again later", min(60, max(1, seconds)))
            self._waiting += len(jobs)
            self._requests.append(deque(jobs))
            for job in jobs:
                self._coming[job.served.extractor] += 1
                job.future.add_done_callback(partial(self._answered, job))
            self._changed.notify_all()

    def stop(self) -> None:
        """End the threads; images without an answer are cancelled."""
        with self._changed:
            self._stopped = True
            left = [job for request in self._requests for job in request]
            left += [job for jobs in self._ready.values() for job in jobs]
            self._changed.notify_all()
        for job in left:
            job.future.cancel()
        for thread in self._threads:
            thread.join(timeout=self._limits.decode_seconds)

    def _answered(self, job: Job, _: Future[Prediction]) -> None:
        job.data, job.image = b"", None  # also of one that was cancelled and is still listed
        with self._changed:
            self._waiting -= 1

    # decoding

    def _decode(self) -> None:
        while (job := self._next_to_decode()) is not None:
            image = self._decoded(job) if job.future.set_running_or_notify_cancel() else None
            with self._changed:
                self._coming[job.served.extractor] -= 1
                if image is not None:
                    job.image, job.data, job.ready = image, b"", time.monotonic()
                    self._ready.setdefault(job.served.extractor, deque()).append(job)
                self._changed.notify_all()

    def _next_to_decode(self) -> Job | None:
        """Wait for the next image; requests take turns, so that a large one holds up no other."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or (self._requests and self._has_room()))
            if self._stopped:
                return None
            request = self._requests.popleft()
            job = request.popleft()
            if request:
                self._requests.append(request)
            return job

    def _has_room(self) -> bool:
        """Whether few enough decoded images wait, which may be large."""
        return sum(map(len, self._ready.values())) < 2 * BATCH

    def _decoded(self, job: Job) -> Image | None:
        """Decode an image; one that cannot be read is answered with the reason."""
        limits, began = self._limits, time.monotonic()
        try:
            image = job.served.extractor.decoded(
                job.data, Path(job.name), limits.pixels, limits.decode_seconds
            )
        except InputError as error:
            self._give(job, Prediction(math.nan, None, "", error=str(error)))
            return None
        except BaseException as error:  # noqa: BLE001 - one image must not end the thread
            job.future.set_exception(error)
            return None
        self._metrics.decode_seconds.observe(time.monotonic() - began)
        return image

    # encoding

    def _encode(self) -> None:
        while batch := self._next_batch():
            began = time.monotonic()
            try:
                self._answer(batch)
            except BaseException as error:  # noqa: BLE001 - one batch must not end the thread
                _log.exception("a batch of %d images failed", len(batch))
                for job in batch:
                    if not job.future.done():
                        job.future.set_exception(error)
            seconds = time.monotonic() - began
            self._metrics.encode_seconds.observe(seconds)
            self._metrics.batch_images.observe(len(batch))
            self._seconds_per_image += 0.1 * (seconds / len(batch) - self._seconds_per_image)

    def _next_batch(self) -> list[Job]:
        """Wait for the next batch, of one encoder; empty when the worker is stopped."""
        with self._changed:
            while not self._stopped:
                now = time.monotonic()
                due = {extractor: self._due(extractor) for extractor, q in self._ready.items() if q}
                first = min(due, key=lambda extractor: due[extractor], default=None)
                if first is not None and due[first] <= now:
                    queue = self._ready[first]
                    batch = [queue.popleft() for _ in range(min(BATCH, len(queue)))]
                    self._changed.notify_all()
                    return batch
                self._changed.wait(None if first is None else due[first] - now)
        return []

    def _due(self, extractor: FeatureExtractor) -> float:
        """Return when the next batch of an encoder goes at the latest."""
        queue = self._ready[extractor]
        if len(queue) >= min(BATCH, extractor.together) or not self._coming[extractor]:
            return queue[0].ready
        return queue[0].ready + self._limits.max_wait / 1000

    def _answer(self, batch: Sequence[Job]) -> None:
        """Encode a batch once, and score it by each detector that was asked."""
        images = [job.image for job in batch if job.image is not None]
        features = batch[0].served.extractor.encoded(images)
        for served in dict.fromkeys(job.served for job in batch):
            own = [row for row, job in enumerate(batch) if job.served is served]
            self._score(served, [batch[row] for row in own], [features[row] for row in own])

    def _score(self, served: Served, jobs: Sequence[Job], features: Sequence[Feature]) -> None:
        explain = any(job.explain for job in jobs)
        for job, found in zip(jobs, served.predictions(features, explain=explain), strict=True):
            if not math.isfinite(found.score):
                found = replace(found, error=f"{job.name}: its score is no number")
            self._give(job, found)

    def _give(self, job: Job, found: Prediction) -> None:
        self._metrics.verdict(job.served, found)
        job.future.set_result(found)
