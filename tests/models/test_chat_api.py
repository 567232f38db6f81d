"""What the replies of a server mean: answers, refusals, trouble that may pass, and ends."""

from __future__ import annotations

import json
import re
import time

import pytest
from PIL import Image

from serving_chat import (
    Chat,
    Drip,
    Reply,
    SlowHead,
    choice,
    describer,
    kept_apart,  # noqa: F401 - a fixture for every test here
    pictures,
    serving,
    slept,
)
from synood.errors import InputError
from synood.models.describer import NoDescription

USABLE = [
    choice({"content": "<think>hm</think>sofa, lamp<|im_end|>"}),
    choice({"content": [{"type": "text", "text": "sofa, "}, {"type": "text", "text": "lamp"}]}),
    choice({"content": ["sofa, ", {"text": "lamp"}, {"type": "image_url", "image_url": {}}]}),
    choice(
        {"content": [{"type": "thinking", "thinking": []}, {"type": "text", "text": "sofa, lamp"}]}
    ),
    choice({"content": "sofa, lamp", "reasoning_content": "hm", "tool_calls": [], "refusal": None}),
    choice({"content": "sofa, lamp"}, None),
    choice({"content": "sofa, lamp, wooden fl"}, "length"),
    choice({"content": "sofa, lamp, wooden fl"}, "max_output_tokens"),
    choice({"content": "sofa, lamp, wooden fl"}, "abort"),
    choice({"content": [None, {"type": "text", "text": {"value": "sofa, lamp"}}]}),
    choice({"content": "sofa, lamp \ud83d"}),
    choice({"content": "sofa, lamp, wooden fl"}, "network_error"),
    {"choices": [{"message": {"content": "sofa, lamp, wood"}, "stop_reason": "max_tokens"}]},
]


@pytest.mark.parametrize("reply", USABLE)
def test_an_answer_is_read_in_each_form_that_servers_give_it(reply):
    with serving(Chat(answer=Reply(200, reply))) as chat:
        assert describer(chat).describe(pictures(1), ["dog"]) == ["sofa, lamp"]


REFUSED = {"error": {"code": "content_filter", "message": "The prompt was filtered."}}
UNUSABLE = [
    (200, choice({"content": "I'm sorry, I can't help with that."}), "the model refused"),
    (200, choice({"refusal": "Sorry."}), r'the model refused to answer \("Sorry."\)'),
    (200, choice({"content": [{"type": "refusal", "refusal": "No."}]}), "the model refused"),
    (200, choice({"content": ""}), "the answer is empty"),
    (200, choice({"content": None}), "the answer is empty"),
    (200, choice({"content": "沙发，灯"}), "is not in English"),
    (200, choice({"content": "sofa"}, "content_filter"), "content filter stopped the answer"),
    (200, {"choices": [{"finish_reason": "content_filter: SAFETY"}]}, "content filter stopped"),
    (200, [REFUSED], "refused the image .*The prompt was filtered"),
    (200, choice({"content": "a wooden"}, "length"), "cut short"),
    (200, choice({"content": None, "reasoning_content": "a do"}, "length"), "limit of tokens"),
    (200, choice({"content": None, "tool_calls": [{"id": "1"}]}), "called a tool"),
    (200, REFUSED, "refused the image .*The prompt was filtered"),
    (200, {"choices": [{"error": {"code": 403, "message": "flagged"}}]}, "refused the image"),
    (400, REFUSED, "HTTP 400: .*content_filter: The prompt was filtered"),
    (403, {"error": {"message": "Your input was flagged"}}, "refused the image"),
    (422, {"detail": "aspect ratio must be below 200"}, "HTTP 422: .*aspect ratio"),
    (413, "Payload too large", "HTTP 413: .*Payload too large"),
    (400, "", "HTTP 400: .*no reason given"),
    (200, choice({"content": "sofa"}, "IMAGE_SAFETY"), "content filter stopped the answer"),
    (200, choice({"content": "I would"}, "refusal"), "content filter stopped the answer"),
    (200, choice({"content": "a wooden"}, "model_length"), "cut short"),
    (200, choice({"content": "sofa"}, "censored"), "content filter stopped the answer"),
    (
        400,
        {"error": {"message": "Provider returned error", "metadata": {"raw": "Too small"}}},
        "did not take the image .*Provider returned error: Too small",
    ),
    (200, {"msg": "flagged as unsafe"}, "refused the image .*flagged as unsafe"),
]


@pytest.mark.parametrize(("status", "body", "reason"), UNUSABLE)
def test_an_image_without_an_answer_stops_no_other_and_is_asked_about_again(status, body, reason):
    images = pictures(3)
    with serving(Chat(answer="sofa, lamp", faults=[Reply(status, body)])) as chat:
        one = describer(chat, concurrency=1)
        first, *others = one.describe(images, ["dog"] * 3, ["a.jpg", "b.jpg", "c.jpg"])
        assert isinstance(first, NoDescription)
        assert first.reason.startswith("a.jpg: no description by 'tiny': ")
        assert re.search(reason, first.reason)
        assert others == ["sofa, lamp"] * 2
        assert len(chat.requests) == 3  # nothing that waiting would not change
        assert one.describe(images, ["dog"] * 3) == ["sofa, lamp"] * 3
    assert len(chat.requests) == 4


def test_an_image_on_which_the_server_fails_stops_no_other():
    def answer(body):
        return Reply(500, "boom") if chat.seen(body).size[1] < 4 else "sofa, lamp"

    images = [*pictures(2), Image.new("RGB", (1200, 4))]
    with serving(Chat(answer=answer)) as chat:
        found = describer(chat, retries=1).describe(images, ["dog"] * 3)
    assert found[:2] == ["sofa, lamp"] * 2
    assert re.search(r'number 3: .* after 2 tries: HTTP 500: "boom"', found[2].reason)


def test_a_server_that_fails_on_every_image_stops_the_run():
    with (
        serving(Chat(answer=Reply(500, "boom"))) as chat,
        pytest.raises(InputError, match=r'after 2 tries: HTTP 500: "boom"; answers so far'),
    ):
        describer(chat, retries=1).describe(pictures(3), ["dog"] * 3)


STOPS = [
    (429, {"error": {"code": "insufficient_quota", "message": "You exceeded"}}, "no credit left"),
    (429, {"error": {"message": "You exceeded your current quota"}}, "no credit left"),
    (402, {"error": {"message": "Payment required"}}, "no credit left.*Payment required"),
    (200, {"base_resp": {"status_msg": "insufficient balance"}}, "no credit left.*insufficient"),
    (400, {"error": {"message": "Unrecognized request argument: top_k"}}, "see base_url, model"),
    (403, "<html>Sorry, you have been blocked</html>", "HTTP 403: .*you have been blocked"),
    (400, {"error": {"message": "Your credit balance is too low"}}, "no credit left"),
    (200, {"error": {"code": 402, "message": "Insufficient credits"}}, "no credit left"),
    (
        400,
        {"error": {"code": "unsupported_parameter", "message": "max_tokens"}},
        "see base_url, mo",
    ),
    (400, {"error": {"message": "API key not valid"}}, "API key not valid"),
    (404, {"error": {"message": "no such model"}}, "HTTP 404: .*no such model"),
    (401, {"detail": "bad key"}, "HTTP 401: .*bad key"),
    (429, {"error": {"message": "Quota exceeded: 50 a day"}}, "no credit left.*50 a day"),
    (429, {"error": {"message": "Daily limit reached"}}, "no credit left.*Daily limit"),
    (200, {"code": "401", "msg": "bad key"}, "401: bad key"),
    (200, {"object": "error", "code": 404, "message": "no such model"}, "404: no such model"),
    (200, {"errors": [{"message": "bad API key"}]}, "bad API key"),
    (307, "moved", "HTTP 307"),
    (429, {"error": {"message": "You have run out of credits"}}, "no credit left.*out of credits"),
    (429, {"code": "1113", "message": "Your account is in arrears"}, "no credit left.*arrears"),
    (400, {"error": {"type": "budget_exceeded", "message": "Max: 1"}}, "no credit left.*Max: 1"),
    (429, {"error": {"message": "余额不足"}}, "no credit left.*余额不足"),
    (403, {"error": {"message": "Your account has been blocked"}}, "HTTP 403: .*been blocked"),
    (400, {"error": {"message": "image input is not supported"}}, "see base_url, model"),
    (422, {"error": {"message": "messages: content must be a string"}}, "see base_url, model"),
    (200, "<!doctype html><p>Welcome", "replies with a web page; see base_url"),
]


@pytest.mark.parametrize(("status", "body", "reason"), STOPS)
def test_what_would_meet_every_image_stops_at_once_with_its_reason(status, body, reason):
    with serving(Chat(answer=Reply(status, body))) as chat, pytest.raises(InputError, match=reason):
        describer(chat, concurrency=1).describe(pictures(3), ["dog"] * 3)
    assert len(chat.requests) == 1
    assert slept == []


def test_a_wait_that_is_asked_for_buys_no_credit():
    reply = Reply(429, {"error": {"code": "insufficient_quota", "message": "You exceeded"}})
    reply.headers["Retry-After"] = "20"
    with serving(Chat(answer=reply)) as chat, pytest.raises(InputError, match="no credit left"):
        describer(chat).describe(pictures(1), ["dog"])
    assert len(chat.requests) == 1


BUSY = [
    Reply(429, {"error": {"message": "Rate limit reached for tiny"}}),
    Reply(200, {"error": {"code": 429, "message": "Rate limit reached for tiny"}}),
    Reply(429, {"error": {"message": "busy", "metadata": {"raw": "Rate limit reached for tiny"}}}),
    Reply(
        429,
        {
            "error": {
                "message": "You exceeded your current quota. Rate limit reached for tiny"
                ", please retry in 3 s"
            }
        },
    ),
]


@pytest.mark.parametrize("reply", BUSY)
def test_the_reason_of_a_busy_server_is_told_when_it_stays_busy(reply):
    with (
        serving(Chat(answer=reply)) as chat,
        pytest.raises(InputError, match="Rate limit reached for tiny"),
    ):
        describer(chat, retries=1).describe(pictures(1), ["dog"])
    assert len(chat.requests) == 2


@pytest.mark.parametrize(
    "body", [{"fault": {"faultstring": "Not now"}}, 'data: {"error": {"message": "Not now"}}']
)
def test_the_reason_in_a_reply_of_an_unknown_form_is_not_dropped(body):
    with (
        serving(Chat(answer=Reply(200, body))) as chat,
        pytest.raises(InputError, match=r"after 2 tries: an answer that is no chat.*Not now"),
    ):
        describer(chat, retries=1).describe(pictures(2), ["dog"] * 2)


def test_an_answer_that_drips_is_given_up_after_the_timeout():
    text = Drip(json.dumps(choice({"content": "sofa, lamp"})))
    slow = Reply(200, "")
    slow.text = text
    with serving(Chat(faults=[slow])) as chat:
        started = time.monotonic()
        one = describer(chat, timeout=0.5)
        assert one.describe(pictures(1), ["dog"]) == ["sofa, lamp"]
        assert time.monotonic() - started < 3
    assert len(chat.requests) == 2


def test_a_head_that_drips_is_given_up_after_the_timeout():
    with serving(Chat(faults=[Reply(200, SlowHead())])) as chat:
        started = time.monotonic()
        assert describer(chat, timeout=0.5).describe(pictures(1), ["dog"]) == ["sofa, lamp"]
        assert time.monotonic() - started < 3
    assert len(chat.requests) == 2
