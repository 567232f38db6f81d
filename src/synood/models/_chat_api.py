"""One request to an OpenAI-compatible endpoint, and what its reply means.

A reply is an answer, or one of three errors: `AnswerError` concerns this image alone, `RetryError`
may pass, and any other `InputError` (key, model, quota, URL) would meet every image.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import httpx2

from synood.errors import InputError
from synood.models._answer_text import AnswerError, excerpt, whole_items

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

RETRIED = {408, 409, 425, 429}  # HTTP statuses that may pass, besides the server's own errors
OF_THE_IMAGE = {400, 413, 415, 422, 451}  # statuses for a request that another image would pass
LARGEST_REPLY = 2**22  # bytes; an answer has some hundred
_FILTERED = re.compile(
    r"content.?(?:filter|policy|management|moderation)|moderat|flagged|safety|responsible.?ai"
    r"|inappropriate|data.?inspection|sensitive|prohibited|blocked",
    re.IGNORECASE,
)
_NO_CREDIT = re.compile(
    r"insufficient[ _](?:user[ _])?(?:quota|balance|credits?|funds)|billing_(?:\w*limit|not_active)"
    r"|credit balance is too low|(?:daily|monthly|spending)[ _](?:\w+[ _])?limit|out of credits?"
    r"|no credits?\b|\barrear|top up|recharge|budget[\W_]+(?:has been )?exceeded|余额不足|欠费",
    re.IGNORECASE,
)
_NO_QUOTA = re.compile(
    "exceeded your current quota|quota (?:exceed|exhaust)ed", re.IGNORECASE
)  # of a month or of a minute
_SETTINGS = re.compile(
    r"api.?key|model_?not_?found|unsupported_(?:parameter|value)|unknown_parameter"
    r"|(?:unsupported|unknown|unrecognized|unexpected|invalid)"
    r" (?:\w+ )?(?:parameter|field|argument|model)"
    r"|extra inputs are not permitted|max_(?:completion_)?tokens|temperature|deprecated"
    r"|model\W+\S+ (?:does not exist|is not|not found)|extra_forbidden|does not support image"
    r"|not a multimodal model|unknown name|image\w*(?: input| content)? is (?:not|only) supported"
    r"|at most 0 image|content must be a string"
    r"|(?:account|organi[sz]ation|project|subscription)\W+(?:\w+\W+){0,3}?"
    r"(?:blocked|flagged|suspended|deactivated|disabled)",
    re.IGNORECASE,
)


_REASONS = ("detail", "message", "msg", "errors", "error_msg", "error_message", "base_resp")
_STOPPED = re.compile(  # finish reasons
    "content|(?:image_)?safety|prohibited|blocklist|blocked|sensitive|recitation|refusal|spii"
    "|guardrail|censor"
)
_OUT_OF_TOKENS = re.compile("length|max|model_length|model_context|token")
_BROKEN_OFF = re.compile(
    "error|abort|cancel|incomplete|time_?out|network|insufficient|malformed|repetition"
)


class RetryError(Exception):
    """Trouble that may pass; `wait` are the seconds after which the server wants another request.

    `of_image` tells trouble that one image can cause from an absent or busy server.
    """

    def __init__(self, reason: str, wait: float | None = None, *, of_image: bool = True) -> None:
        super().__init__(reason)
        self.wait, self.of_image = wait, of_image


@dataclass(frozen=True)
class ChatApi:
    """A model behind `base_url`; the key is read from an environment variable for each request."""

    base_url: str
    model: str
    key_env: str | None
    timeout: float  # seconds for a request and its whole reply

    def ask(self, body: Mapping[str, Any]) -> str:
        """Send one request and return the answer's text, which is whole and not empty."""
        key = self.key()
        try:
            status, headers, reply = asyncio.run(self._reply(body, key))
        except TimeoutError:
            raise RetryError(f"no whole answer within {self.timeout:g} s") from None
        except httpx2.TimeoutException as error:
            raise RetryError(type(error).__name__) from None
        except httpx2.ConnectError as error:
            raise RetryError(f"{type(error).__name__}: {error}", of_image=False) from None
        except httpx2.RequestError as error:
            raise RetryError(type(error).__name__) from None
        try:
            payload = json.loads(reply)
        except (ValueError, RecursionError):
            payload = None
        found = _error_in(payload)
        if status == 200 and payload is None and reply.lstrip()[:1] == b"<":
            raise InputError(
                f"endpoint {self.base_url}: replies with a web page; see base_url, which mostly "
                "ends in /v1"
            )
        if status < 300 and found is None:
            return _answer(payload, reply)
        text = (
            reply.decode(errors="replace")
            if found is None
            else json.dumps(found, ensure_ascii=False)
        )
        said = excerpt(_message(found) or text or "no reason given", 200)
        said = said.replace(key, "***") if key else said
        raise self._error(status, headers, found, text, said)

    def key(self) -> str | None:
        """Return the key; one that is missing or that no header can carry is an `InputError`."""
        if self.key_env is None:
            return None
        key = os.environ.get(self.key_env, "").strip()
        if not key:
            raise InputError(
                f"endpoint {self.base_url}: no key in the environment variable {self.key_env}; "
                "set it, or set key_env to null where none is needed"
            )
        wrong = next((letter for letter in key if not "!" <= letter <= "~"), None)
        if wrong is None and key[0] in "'\"":
            wrong = key[0]
        if wrong is not None:
            raise InputError(
                f"endpoint {self.base_url}: the key in the environment variable {self.key_env} "
                f"contains {wrong!a}, which no key does; copy it anew, without quotation marks"
            )
        return key

    async def _reply(
        self, body: Mapping[str, Any], key: str | None
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Return status, headers and body; `timeout` bounds the sum of all reads, not each."""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        url = f"{self.base_url}/chat/completions"
        async with (
            asyncio.timeout(self.timeout),
            self._client() as client,
            client.stream("POST", url, json=body, headers=headers) as reply,
        ):
            content = bytearray()
            async for part in reply.aiter_bytes():
                content += part
                if len(content) > LARGEST_REPLY:
                    raise RetryError("an answer of more than 4 MB")
            return reply.status_code, reply.headers, bytes(content)

    def _client(self) -> httpx2.AsyncClient:
        try:
            return httpx2.AsyncClient(timeout=self.timeout, verify=self._certificates)
        except (ValueError, ImportError, OSError, httpx2.InvalidURL) as error:
            raise InputError(
                f"endpoint {self.base_url}: no connection with the proxy and certificate settings "
                f"of the environment ({error}); see HTTPS_PROXY, ALL_PROXY and SSL_CERT_FILE"
            ) from None

    @cached_property
    def _certificates(self) -> ssl.SSLContext:
        return httpx2.create_ssl_context()

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the certificates, which cannot be pickled."""
        return {name: value for name, value in vars(self).items() if name != "_certificates"}

    def _error(
        self,
        status: int,
        headers: Mapping[str, str],
        error: Any,  # noqa: ANN401 - any JSON value
        text: str,
        said: str,
    ) -> Exception:
        """Return the error that a reply other than an answer stands for."""
        code = _code_in(error) if status == 200 else status
        trouble = f"HTTP {status}: {said}" if code == status else f"an error in its reply: {said}"
        wait = _asked_wait(headers)
        may_wait = wait is not None or re.search(r"(?:retry|try again) in", text, re.IGNORECASE)
        if code == 402 or _NO_CREDIT.search(text) or (_NO_QUOTA.search(text) and not may_wait):
            return InputError(
                f"endpoint {self.base_url}: the account has no credit left ({trouble}); answers so "
                "far are kept, so add credit and give the command again"
            )
        if code in RETRIED or (code >= 500 and code != 501):
            return RetryError(trouble, wait, of_image=code >= 500)
        is_page = text.lstrip().startswith("<")  # of a firewall: it concerns no image
        if (
            code in OF_THE_IMAGE | {0, 403}
            and _FILTERED.search(text)
            and not (is_page or _SETTINGS.search(text))
        ):
            return AnswerError(f"the provider refused the image ({trouble})")
        if code in OF_THE_IMAGE and not _SETTINGS.search(text):
            return AnswerError(f"the provider did not take the image ({trouble})")
        if code == 0 and not _SETTINGS.search(text):
            return RetryError(trouble)
        return InputError(
            f"endpoint {self.base_url}: {trouble} for model {self.model!r}; "
            f"see base_url, model, extra and the variable {self.key_env}"
        )


def _error_in(payload: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return the error that a reply holds at its top or in its choice, or None."""
    if isinstance(payload, list) and payload:
        payload = payload[0]
    if not isinstance(payload, dict):
        return None
    if payload.get("error"):
        return payload["error"]
    choices = payload.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        return choices[0].get("error") or None
    if choices is not None:
        return None
    found = next((payload[key] for key in _REASONS if payload.get(key)), None)
    if isinstance(found, str):
        return {**payload, "message": found}
    return found[0] if isinstance(found, list) and len(found) == 1 else found


def _message(error: Any) -> str:  # noqa: ANN401 - any JSON value
    """Return the words for a person in an error, with its code."""
    if isinstance(error, str):
        return error
    if not isinstance(error, dict):
        return ""
    keys = (("code", "type", "status_code"), ("message", "msg", "status_msg"))
    words = [next((error[key] for key in group if error.get(key)), None) for group in keys]
    if isinstance(behind := error.get("metadata"), dict):
        words.append(behind.get("raw"))  # what the provider behind a router said
    return ": ".join(str(word) for word in words if word)


def _code_in(error: Any) -> int:  # noqa: ANN401 - any JSON value
    """Return the HTTP status that an error in an HTTP 200 gives as its code, or 0."""
    code = error.get("code", error.get("status")) if isinstance(error, dict) else None
    found = int(str(code)) if str(code).isdecimal() else 0
    return found if 400 <= found < 600 else 0


def _answer(payload: Any, reply: bytes) -> str:  # noqa: ANN401 - any JSON value
    try:
        choice = payload["choices"][0]
        reasons = ("finish_reason", "native_finish_reason", "stop_reason")
        reason = str(next((choice[key] for key in reasons if choice.get(key)), None)).lower()
        if _STOPPED.match(reason):
            raise AnswerError("the provider's content filter stopped the answer")
        message = choice["message"]
        content, refusal = _content(message.get("content")), message.get("refusal")
    except (LookupError, TypeError, AttributeError):
        said = excerpt(reply.decode(errors="replace"), 200)
        raise RetryError(f"an answer that is no chat completion: {said}") from None
    if refusal:
        raise AnswerError(f"the model refused to answer ({excerpt(str(refusal))})")
    content = content.encode(errors="replace").decode()  # half a character, of an answer cut short
    if content.strip():
        cut = _OUT_OF_TOKENS.match(reason) or _BROKEN_OFF.match(reason)
        return whole_items(content) if cut else content
    if message.get("tool_calls") or message.get("function_call"):
        raise AnswerError("the model called a tool in place of an answer")
    if _OUT_OF_TOKENS.match(reason):
        raise AnswerError(
            "the model reached the limit of tokens before it answered; allow more with "
            '"extra": {"max_tokens": 2000}'
        )
    raise AnswerError("the answer is empty")


def _content(content: Any) -> str:  # noqa: ANN401 - any JSON value
    """Return the text of an answer's content: a string, or parts of which some are text."""
    if content is None or isinstance(content, str):
        return content or ""
    parts = content if isinstance(content, list) else [content]
    texts = []
    for part in parts:
        if isinstance(part, str):
            texts.append(part)
        elif part is None:
            continue
        elif part.get("type") == "refusal":
            raise AnswerError(f"the model refused to answer ({excerpt(str(part.get('refusal')))})")
        elif part.get("type", "text") in {"text", "output_text"}:
            text = part.get("text") or ""
            texts.append(str(text["value"] if isinstance(text, dict) else text))
    return "".join(texts)


def _asked_wait(headers: Mapping[str, str]) -> float | None:
    """Return the seconds of a Retry-After header; a date is ignored."""
    try:
        return max(0.0, float(headers.get("retry-after", "")))
    except ValueError:
        return None
