"""Describer by an OpenAI-compatible endpoint: a hosted model, or a local server such as vLLM's.

Each image is sent once with its question, and answers are stored as they arrive. The key is read
from an environment variable when it is needed; no file, log, error or id contains it.
"""

from __future__ import annotations

import base64
import io
import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING, Any

import httpx2

from synood.errors import InputError
from synood.files import fingerprint
from synood.models._answer_text import AnswerError
from synood.models._answers import Answers, answers_folder, image_key
from synood.models._chat_api import ChatApi, RetryError
from synood.models.describer import NoDescription, named_images
from synood.models.questions import find_question

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from PIL.Image import Image

LONGEST_WAIT = 60.0  # seconds between two tries, whatever the server asks for
CHARACTERS_PER_TOKEN = 4
LARGEST_SIDE = 65500  # pixels of a JPEG


@dataclass(frozen=True)
class Price:
    """The expected price of describing images: tokens, and dollars where prices are known."""

    images: int
    tokens_in: int
    tokens_out: int
    cost: float | None

    def text(self) -> str:
        """Return it as a phrase."""
        cost = "price not given" if self.cost is None else f"about ${self.cost:,.2f}"
        return (
            f"at most {self.images:,} images, {self.tokens_in:,} tokens in, "
            f"{self.tokens_out:,} out: {cost}"
        )


class EndpointDescriber:
    """Asks `model` at `base_url` (".../v1") what is around each image's subject.

    Args:
        base_url: URL of the API; "/chat/completions" is added.
        model: name of the model there.
        key_env: environment variable that holds the key; None sends none.
        question: name of the question.
        concurrency: number of simultaneous requests.
        timeout: seconds for a whole answer.
        retries: tries after the first, for what may pass: 429, server errors, time-outs and
            replies that are no chat completion. Waits double from one second, or are what the
            server asks for.
        max_side: pixels of the longer side; larger images are shrunk before they are sent.
        image_tokens: tokens that an image counts in the estimate.
        price_in: dollars for a million input tokens.
        price_out: dollars for a million output tokens.
        max_cost: dollars; a higher estimate is an `InputError`.
        extra: further fields of the request, e.g. {"temperature": null} to leave one out.
        answers: file in which answers are kept; by default one in the user's cache.
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
        _check_settings({**locals(), "extra": extra or {}})
        self.base_url, self.model = _checked_url(base_url), model
        self._api = ChatApi(self.base_url, model, key_env, timeout)
        self._question = find_question(question)
        self._concurrency, self._retries = concurrency, retries
        self._max_side, self._image_tokens = max_side, image_tokens
        self._prices, self._max_cost = (price_in, price_out), max_cost
        self._extra = dict(extra or {})
        settings = (self.base_url, model, self._question.text, max_side, self._extra)
        self.id = f"endpoint-{fingerprint(*settings)}"
        self._path = answers or answers_folder() / f"{self.id}.jsonl"

    def plan(self, images: int) -> str:
        """Say what describing so many images may cost, before any is sent.

        Raises:
            InputError: it is more than `max_cost`, or there is no usable key.
        """
        self._api.key()
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
    ) -> list[str | NoDescription]:
        """Return what is around each subject, from the answers kept or by asking.

        An image without a usable answer is a `NoDescription`, and is asked about again next time.

        Raises:
            InputError: no image can be described: the server cannot be reached, takes neither key
                nor model, or the account has no credit left.
        """
        names = named_images(images, class_names, image_ids)
        answers, stop = Answers(self._path), Event()
        asked = [self._question.ask(class_name) for class_name in class_names]
        keys = [image_key(*pair, self.id) for pair in zip(images, asked, strict=True)]
        first = {key: keys.index(key) for key in keys}  # the same image is asked about once
        with ThreadPoolExecutor(self._concurrency) as pool:
            jobs = {
                key: pool.submit(
                    self._text, answers, key, images[row], class_names[row], names[row], stop
                )
                for key, row in first.items()
            }
            try:
                found = {key: job.result() for key, job in jobs.items()}
            except BaseException:
                stop.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        failures = [one for one in found.values() if isinstance(one, _NoReply)]
        if len(found) == len(failures) > 1:
            raise InputError(self._nothing_from_server(names[0], failures[0].reason))
        return [
            NoDescription(f"{name}: no description by {self.model!r}: {text.reason}")
            if isinstance(text := found[key], NoDescription)
            else text
            for name, key in zip(names, keys, strict=True)
        ]

    def _text(
        self, answers: Answers, key: str, image: Image, class_name: str, name: str, stop: Event
    ) -> str | NoDescription:
        """Read the answer that is kept, if it can be used, else ask."""
        if stop.is_set():
            return NoDescription("stopped")
        try:
            return self._question.read(answers.get(key) or "", class_name)
        except AnswerError:
            pass  # none, or one kept by a version that did not judge answers
        try:
            body = self._body(self._question.ask(class_name), image)
        except (OSError, ValueError) as error:
            return NoDescription(f"it cannot be written as a JPEG ({error})")
        try:
            answer = self._ask(body, stop)
            text = self._question.read(answer, class_name)
        except AnswerError as error:
            return NoDescription(str(error))
        except RetryError as error:
            if error.of_image:
                return _NoReply(f"after {self._retries + 1} tries: {error}")
            stop.set()
            reason = f"after {self._retries + 1} tries: {error}"
            raise InputError(self._nothing_from_server(name, reason)) from None
        except InputError:
            stop.set()
            raise
        answers.keep(key, answer)
        return text

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

    def _ask(self, body: Mapping[str, Any], stop: Event) -> str:
        """Ask until there is an answer; the last `RetryError` where there is none."""
        for number in range(self._retries + 1):
            try:
                return self._api.ask(body)
            except RetryError as error:
                if number == self._retries or stop.is_set():
                    raise
                pause(min(error.wait or 2.0**number, LONGEST_WAIT), stop)
        raise AssertionError("the last try returns or raises")

    def _nothing_from_server(self, name: str, reason: str) -> str:
        return (
            f"endpoint {self.base_url}: no answer for {name} {reason}; answers so far are kept, "
            "so give the command again later"
        )


class _NoReply(NoDescription):
    """An image for which the server gave no answer at all."""


def pause(seconds: float, stop: Event) -> None:
    """Wait, but no longer than until `stop` is set."""
    stop.wait(seconds)


def _check_settings(settings: Mapping[str, Any]) -> None:
    """Raise an `InputError` that names a setting of the wrong type or out of range."""
    number, price = (int, float), (int, float, type(None))
    rules: dict[str, tuple[Any, float, str]] = {
        "model": (str, 0, "a name"),
        "key_env": ((str, type(None)), 0, "the name of a variable, or null"),
        "question": (str, 0, "a name"),
        "concurrency": (int, 1, "a whole number above 0"),
        "timeout": (number, 1e-3, "a number of seconds above 0"),
        "retries": (int, 0, "a whole number from 0 on"),
        "max_side": (int, 1, f"a number of pixels from 1 to {LARGEST_SIDE}"),
        "image_tokens": (number, 0, "a number from 0 on"),
        **dict.fromkeys(("price_in", "price_out", "max_cost"), (price, 0, "dollars from 0 on")),
    }
    for name, (types, least, expected) in rules.items():
        value = settings[name]
        wrong = not isinstance(value, types) or isinstance(value, bool)
        if not wrong and isinstance(value, int | float):
            wrong = not least <= value <= (LARGEST_SIDE if name == "max_side" else 1e12)
        if wrong or value == "":
            raise InputError(f"endpoint: {name} must be {expected}, not {value!r}")
    if settings["max_cost"] is not None and None in (settings["price_in"], settings["price_out"]):
        raise InputError("endpoint: max_cost needs price_in and price_out to be compared with")
    extra = settings["extra"]
    if not isinstance(extra, dict) or {"messages", "stream"} & extra.keys():
        raise InputError("endpoint: extra must be an object, without `messages` and `stream`")
    try:
        json.dumps(extra, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"endpoint: extra must hold JSON values alone ({error})") from None


def _checked_url(base_url: object) -> str:
    """Return the URL without the end that is added to it; one of no host is an `InputError`."""
    text = base_url.strip() if isinstance(base_url, str) else ""
    if not text.startswith(("http://", "https://")):
        raise InputError(f"endpoint: base_url {base_url!r} must begin with http:// or https://")
    try:
        url = httpx2.URL(text)
        whole = re.fullmatch(r"[\w.:-]+", url.host) and (url.port or 1) < 2**16
    except httpx2.InvalidURL as error:
        raise InputError(f"endpoint: base_url {base_url!r} is not a URL ({error})") from None
    if not whole or url.path.startswith("//"):
        raise InputError(f"endpoint: base_url {base_url!r} names no host; see docs/describing.md")
    if url.userinfo or url.query or url.fragment:
        raise InputError(
            f"endpoint: base_url of host {url.host} must have no user, password or query; the key "
            "comes from the variable that key_env names"
        )
    return text.rstrip("/").removesuffix("/chat/completions")


def _jpeg(image: Image, max_side: int) -> str:
    """Return the image as base64 of a JPEG whose longer side is at most `max_side` pixels."""
    image = image.convert("RGB")
    image.thumbnail((max_side, max_side))
    data = io.BytesIO()
    image.save(data, "JPEG", quality=90)
    return base64.b64encode(data.getvalue()).decode()
