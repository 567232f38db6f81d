"""Describer by an OpenAI-compatible endpoint: a hosted model, or a local server such as vLLM's.

Each image is sent once with its question; answers are kept on disk as they come in. The key is read
from an environment variable when it is needed, and stands in no file, log, error or id.
"""

from __future__ import annotations

import base64
import io
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import sleep
from typing import TYPE_CHECKING, Any

from synood.errors import InputError
from synood.files import fingerprint
from synood.models._answers import Answers, answers_folder, image_key
from synood.models.questions import find_question

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from PIL.Image import Image

AGAIN = {408, 409, 425, 429, 500, 502, 503, 504, 529}  # statuses that may pass
LONGEST_WAIT = 60.0  # seconds between two tries, whatever the server asks for
CHARACTERS_PER_TOKEN = 4


@dataclass(frozen=True)
class Price:
    """What a describing is expected to take: tokens, and dollars where the prices are known."""

    images: int
    tokens_in: int
    tokens_out: int
    cost: float | None

    def text(self) -> str:
        """Say it in a sentence."""
        cost = "price not given" if self.cost is None else f"about ${self.cost:,.2f}"
        return (
            f"at most {self.images:,} images, {self.tokens_in:,} tokens in, "
            f"{self.tokens_out:,} out: {cost}"
        )


class EndpointDescriber:
    """Asks `model` at `base_url` (".../v1") what is around each image's subject.

    Args:
        base_url: of the API; "/chat/completions" is added.
        model: name of the model there.
        key_env: environment variable that holds the key; None sends none.
        question: name of the question.
        concurrency: requests at a time.
        timeout: seconds for a whole answer.
        retries: tries after the first, for what may pass: 429, server errors, time-outs and
            answers without a text. Waits double from a second, or are what the server asks for.
        max_side: pixels of the longer side; larger images are shrunk before they are sent.
        image_tokens: how many tokens an image counts in the estimate.
        price_in: dollars for a million tokens in.
        price_out: dollars for a million tokens out.
        max_cost: an estimate above this many dollars is an `InputError`.
        extra: further fields of the request, e.g. {"temperature": null} to leave one out.
        answers: file of kept answers; by default one in the user's cache.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        key_env: str | None = "OPENAI_API_KEY",
        question: str = "surroundings-v1",
        concurrency: int = 8,
        timeout: float = 60.0,
        retries: int = 6,
        max_side: int = 768,
        image_tokens: int = 1000,
        price_in: float | None = None,
        price_out: float | None = None,
        max_cost: float | None = None,
        extra: Mapping[str, Any] | None = None,
        answers: Path | None = None,
    ) -> None:
        if not base_url.startswith(("http://", "https://")):
            raise InputError(f"endpoint: base_url {base_url!r} must begin with http:// or https://")
        if concurrency < 1 or retries < 0 or timeout <= 0 or max_side < 1:
            raise InputError("endpoint: concurrency, timeout and max_side must be above 0")
        if max_cost is not None and (price_in is None or price_out is None):
            raise InputError("endpoint: max_cost needs price_in and price_out to be compared with")
        self.base_url, self.model = base_url.rstrip("/"), model
        self._key_env, self._question = key_env, find_question(question)
        self._concurrency, self._timeout, self._retries = concurrency, timeout, retries
        self._max_side, self._image_tokens = max_side, image_tokens
        self._prices, self._max_cost = (price_in, price_out), max_cost
        self._extra = dict(extra or {})
        settings = (self.base_url, model, self._question.text, max_side, self._extra)
        self.id = f"endpoint-{fingerprint(*settings)}"
        self._path = answers or answers_folder() / f"{self.id}.jsonl"

    def plan(self, images: int) -> str:
        """Say what describing so many images may cost; more than `max_cost` is an `InputError`."""
        price = self.price(images)
        if self._max_cost is not None and price.cost is not None and price.cost > self._max_cost:
            raise InputError(
                f"endpoint {self.model!r}: {price.text()}, above max_cost ${self._max_cost:,.2f}; "
                "raise it or describe fewer images"
            )
        return f"{self.model} at {self.base_url}: {price.text()}"

    def price(self, images: int) -> Price:
        """Estimate tokens and cost; a question counts a token for four characters."""
        question = len(self._question.text) // CHARACTERS_PER_TOKEN
        tokens_in = images * (self._image_tokens + question)
        tokens_out = images * self._question.max_tokens
        price_in, price_out = self._prices
        if price_in is None or price_out is None:
            return Price(images, tokens_in, tokens_out, None)
        cost = (tokens_in * price_in + tokens_out * price_out) / 1e6
        return Price(images, tokens_in, tokens_out, cost)

    def describe(
        self,
        images: Sequence[Image],
        class_names: Sequence[str],
        image_ids: Sequence[str] | None = None,
    ) -> list[str]:
        """Return what is around each subject; what was answered before is not asked for again."""
        if len(images) != len(class_names):
            raise InputError(f"describer: {len(images)} images but {len(class_names)} names")
        names = image_ids or [f"number {number}" for number, _ in enumerate(images, start=1)]
        answers = Answers(self._path)
        with _client(self._timeout) as client, ThreadPoolExecutor(self._concurrency) as pool:
            waiting = [
                pool.submit(self._answer, client, answers, image, class_name, name)
                for image, class_name, name in zip(images, class_names, names, strict=True)
            ]
            try:
                found = [each.result() for each in waiting]
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return [
            self._question.read(answer, class_name)
            for answer, class_name in zip(found, class_names, strict=True)
        ]

    def _answer(
        self,
        client: Any,  # noqa: ANN401 - an httpx2.Client, untyped here
        answers: Answers,
        image: Image,
        class_name: str,
        name: str,
    ) -> str:
        asked = self._question.ask(class_name)
        key = image_key(image, asked, self.id)
        answer = answers.get(key)
        if answer is None:
            body = self._body(asked, image)
            answer = self._with_retries(lambda: self._request(client, body), name)
            answers.keep(key, answer)
        return answer

    def _body(self, asked: str, image: Image) -> dict[str, Any]:
        url = f"data:image/jpeg;base64,{_jpeg(image, self._max_side)}"
        body = {
            "model": self.model,
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "image_url", "image_url": {"url": url}},
                        {"type": "text", "text": asked},
                    ],
                }
            ],
            "max_tokens": self._question.max_tokens,
            "temperature": 0,
            **self._extra,
        }
        return {key: value for key, value in body.items() if value is not None}

    def _request(self, client: Any, body: Mapping[str, Any]) -> str:  # noqa: ANN401
        """Ask once: the answer's text, or `_Passing` for what may go well another time."""
        import httpx2

        key = self._key()
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        try:
            reply = client.post(f"{self.base_url}/chat/completions", json=body, headers=headers)
        except httpx2.TransportError as error:
            raise _Passing(type(error).__name__) from None
        if reply.status_code in AGAIN:
            raise _Passing(f"HTTP {reply.status_code}", _asked_wait(reply.headers))
        if reply.status_code != 200:
            said = " ".join(reply.text.split())[:200]
            said = said.replace(key, "***") if key else said
            raise InputError(
                f"endpoint {self.base_url}: HTTP {reply.status_code} for model {self.model!r} "
                f"({said}); see base_url, model and the variable {self._key_env}"
            )
        try:
            choice = reply.json()["choices"][0]["message"]
            return str(choice.get("content") or choice.get("refusal") or "")
        except (ValueError, LookupError, TypeError, AttributeError):
            raise _Passing("an answer that is no chat completion") from None

    def _with_retries(self, ask: Callable[[], str], name: str) -> str:
        for number in range(self._retries + 1):
            try:
                return ask()
            except _Passing as trouble:
                last = trouble
                if number < self._retries:
                    sleep(min(trouble.wait or 2.0**number, LONGEST_WAIT))
        raise InputError(
            f"endpoint {self.base_url}: no answer for image {name} after {self._retries + 1} tries "
            f"({last}); answers so far are kept, so give the command again later"
        )

    def _key(self) -> str | None:
        if self._key_env is None:
            return None
        key = os.environ.get(self._key_env, "").strip()
        if not key:
            raise InputError(
                f"endpoint {self.base_url}: no key in the environment variable {self._key_env}; "
                "set it, or set key_env to null where none is needed"
            )
        return key


class _Passing(Exception):  # noqa: N818 - it ends no run by itself
    """Trouble that may pass, and the seconds after which the server wants to be asked again."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


def _client(timeout: float) -> Any:  # noqa: ANN401 - an httpx2.Client, untyped here
    try:
        import httpx2
    except ImportError:
        raise InputError("an endpoint needs httpx2: pip install 'synood[endpoint]'") from None
    return httpx2.Client(timeout=timeout)


def _asked_wait(headers: Mapping[str, str]) -> float | None:
    """Return the seconds of a Retry-After header; one that gives a date is not heeded."""
    try:
        return max(0.0, float(headers.get("retry-after", "")))
    except ValueError:
        return None


def _jpeg(image: Image, max_side: int) -> str:
    """Return the image as base64 of a JPEG whose longer side is at most `max_side` pixels."""
    image = image.convert("RGB")
    image.thumbnail((max_side, max_side))
    data = io.BytesIO()
    image.save(data, "JPEG", quality=90)
    return base64.b64encode(data.getvalue()).decode()
