"""An endpoint is asked once for each image, again where trouble may pass, and never told on."""

from __future__ import annotations

import json
import pickle
import shutil
import signal
import subprocess
import sys
import textwrap
import time

import pytest
from PIL import Image

from bundling import change_spec, tiny_bundle
from serving_chat import (
    Chat,
    Reply,
    describer,
    kept_apart,  # noqa: F401 - a fixture for every test here
    pictures,
    serving,
    slept,
)
from small_run import make_pictures, run
from synood.cli.app import main
from synood.errors import InputError
from synood.models._answers import Answers, image_key
from synood.models.bundles import load_bundle
from synood.models.endpoint import EndpointDescriber
from synood.models.questions import QUESTIONS

SECRET = "sk-very-secret-123"


def test_each_image_is_asked_about_with_its_class():
    with serving(Chat(answer=lambda body: "sofa, the dog's bowl")) as chat:
        one = describer(chat, max_side=8)
        assert one.describe(pictures(2), ["dog", "cat"]) == ["sofa", "sofa, dog's bowl"]
    paths, bodies = zip(*chat.requests, strict=True)
    assert set(paths) == {"/v1/chat/completions"}
    texts = {body["messages"][0]["content"][1]["text"] for body in bodies}
    assert texts == {QUESTIONS["surroundings-v1"].ask(name) for name in ("dog", "cat")}
    for body in bodies:
        assert (body["model"], body["temperature"], body["max_tokens"]) == ("tiny", 0, 80)
        assert chat.seen(body).size == (6, 8)  # shrunk to 8 pixels, its shape kept


def test_a_request_has_the_fields_that_are_added_and_lacks_those_set_to_none():
    with serving(Chat()) as chat:
        extra = {"temperature": None, "max_tokens": None, "max_completion_tokens": 90}
        describer(chat, extra=extra).describe(pictures(1), ["dog"])
    body = chat.requests[0][1]
    assert body["max_completion_tokens"] == 90
    assert not {"temperature", "max_tokens"} & body.keys()


@pytest.mark.parametrize("fault", [429, 500, 503, 408, "malformed", "empty"])
def test_what_may_pass_is_asked_again_after_longer_and_longer_waits(fault):
    with serving(Chat(faults=[fault] * 3)) as chat:
        assert describer(chat).describe(pictures(1), ["dog"]) == ["sofa, lamp"]
    assert len(chat.requests) == 4
    assert slept == [1, 2, 4]


def test_the_wait_is_the_one_that_the_server_asks_for():
    faults = [(429, "7"), (503, "9999"), (429, "Wed, 25 Nov 2026 07:28:00 GMT")]
    with serving(Chat(faults=faults)) as chat:
        describer(chat).describe(pictures(1), ["dog"])
    assert slept == [7, 60, 4]


def test_an_answer_that_comes_too_late_is_asked_for_again():
    with serving(Chat(faults=["slow"])) as chat:
        assert describer(chat, timeout=0.3).describe(pictures(1), ["dog"]) == ["sofa, lamp"]
    assert len(chat.requests) == 2


def test_a_server_that_is_not_there_is_named_after_the_last_try():
    with serving(Chat()) as chat:
        pass
    with pytest.raises(InputError, match=r"no answer for a\.jpg after 3 tries: Connect"):
        describer(chat, retries=2).describe(pictures(1), ["dog"], ["a.jpg"])
    assert slept == [1, 2]


def test_the_same_image_twice_is_asked_about_once():
    image = pictures(1)[0]
    with serving(Chat(pause=0.1)) as chat:
        assert describer(chat).describe([image] * 4, ["dog"] * 4) == ["sofa, lamp"] * 4
    assert len(chat.requests) == 1


def test_an_unusable_answer_that_an_older_version_kept_is_asked_for_again():
    with serving(Chat(answer="")) as chat:
        one = describer(chat)
        key = image_key(pictures(1)[0], QUESTIONS["surroundings-v1"].ask("dog"), one.id)
        Answers(one._path).keep(key, "I'm sorry")
        chat.answer = "sofa"
        assert one.describe(pictures(1), ["dog"]) == ["sofa"]
        assert describer(chat).describe(pictures(1), ["dog"]) == ["sofa"]
    assert len(chat.requests) == 1


def test_answers_lie_in_the_cache_folder_and_those_of_older_versions_are_found(
    tmp_path, monkeypatch
):
    with serving(Chat()) as chat:
        describer(chat).describe(pictures(1), ["dog"])
        monkeypatch.setenv("SYNOOD_CACHE", str(tmp_path / "elsewhere"))
        describer(chat).describe(pictures(2), ["dog"] * 2)
        assert len(chat.requests) == 2
    assert len([*(tmp_path / "elsewhere" / "answers").glob("*.jsonl")]) == 1


@pytest.mark.parametrize(
    "key", ["sk-“very-secret”", '"sk-very-secret"', "sk-very secret", "sk\n-x"]
)
def test_a_key_that_no_header_can_carry_is_refused_without_telling_it(key, monkeypatch):
    monkeypatch.setenv("MY_KEY", key)
    one = EndpointDescriber("http://127.0.0.1:9/v1", "tiny", key_env="MY_KEY")
    for act in (lambda: one.plan(1), lambda: one.describe(pictures(1), ["dog"])):
        with pytest.raises(InputError, match=r"variable MY_KEY contains .*copy it anew") as refused:
            act()
        assert "secret" not in str(refused.value)


def test_the_key_comes_from_the_environment_and_is_told_nowhere(tmp_path, monkeypatch, caplog):
    with serving(Chat(key=SECRET)) as chat:
        one = describer(chat, key_env="MY_KEY")
        with pytest.raises(InputError, match="no key in the environment variable MY_KEY"):
            one.describe(pictures(1), ["dog"])
        monkeypatch.setenv("MY_KEY", SECRET + "x")
        with pytest.raises(InputError, match=r"HTTP 401: .* for model 'tiny'") as refused:
            one.describe(pictures(1), ["dog"])
        assert SECRET not in str(refused.value)
        assert len(chat.requests) == 1  # a wrong key does not pass by waiting
        monkeypatch.setenv("MY_KEY", SECRET)
        assert one.describe(pictures(1), ["dog"]) == ["sofa, lamp"]
    assert SECRET.encode() not in pickle.dumps(one)
    assert SECRET not in repr(vars(one)) + caplog.text
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert not any(SECRET.encode() in path.read_bytes() for path in files)


def test_no_more_requests_are_under_way_than_allowed():
    with serving(Chat(pause=0.05)) as chat:
        describer(chat, concurrency=3).describe(pictures(12), ["dog"] * 12)
    assert chat.most == 3


def test_answers_are_kept_by_picture_and_question():
    images = pictures(3)
    with serving(Chat()) as chat:
        one = describer(chat)
        first = one.describe(images, ["dog"] * 3)
        assert len(chat.requests) == 3
        assert describer(chat, concurrency=1).describe(images[::-1], ["dog"] * 3) == first
        assert len(chat.requests) == 3
        one.describe(images[:1], ["cat"])  # another question
        one.describe(pictures(1, seed=9), ["dog"])  # another picture
        describer(chat, max_side=9).describe(images[:1], ["dog"])  # another size
        assert len(chat.requests) == 6


def test_the_id_follows_what_can_change_an_answer_and_nothing_else():
    same = [EndpointDescriber("http://a/v1", "m", concurrency=n, timeout=n).id for n in (1, 2)]
    assert same[0] == same[1] == EndpointDescriber("http://a/v1/", "m").id
    others = [
        EndpointDescriber("http://b/v1", "m"),
        EndpointDescriber("http://a/v1", "n"),
        EndpointDescriber("http://a/v1", "m", max_side=9),
        EndpointDescriber("http://a/v1", "m", extra={"seed": 1}),
    ]
    assert len({same[0], *(other.id for other in others)}) == 5


def test_the_price_is_said_before_and_refused_above_the_limit():
    one = EndpointDescriber(
        "http://a/v1", "m", None, image_tokens=1000, price_in=2.0, price_out=10.0
    )
    price = one.price(1000)
    assert price.tokens_in == 1000 * (1000 + len(QUESTIONS["surroundings-v1"].text) // 4)
    assert price.tokens_out == 80_000
    assert price.cost == pytest.approx(price.tokens_in * 2e-6 + 0.8)
    assert "at most 1,000 images" in one.plan(1000)
    assert "price not given" in EndpointDescriber("http://a/v1", "m", None).plan(1000)
    limited = EndpointDescriber(
        "http://a/v1", "m", None, price_in=2.0, price_out=10.0, max_cost=0.5
    )
    assert "about $0.0" in limited.plan(10)
    with pytest.raises(InputError, match=r"about \$2\.\d\d, above max_cost \$0\.50"):
        limited.plan(1000)


NO_URLS = [
    *("localhost:8000", "", None, 8000, "ftp://a/v1", "http://", "http:///v1", "http://[bad"),
    *("https://exa mple/v1", "http://a:x/v1", "http://a:99999/v1", "https://https://a/v1"),
    *("http://“a.com”/v1", "http://a.com/v1?key=1", "http://me:secret@a.com/v1", "http://a\n.com"),
]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        *[({"base_url": url}, "base_url") for url in NO_URLS],
        ({"model": None}, "model must be a name, not None"),
        ({"model": ""}, "model must be a name, not ''"),
        ({"key_env": 5}, "key_env must be the name of a variable"),
        ({"question": ["x"]}, "question must be a name"),
        ({"concurrency": 0}, "concurrency must be a whole number above 0, not 0"),
        ({"concurrency": "8"}, "concurrency must be a whole number above 0, not '8'"),
        ({"concurrency": True}, "concurrency must be"),
        ({"timeout": float("nan")}, "timeout must be a number of seconds"),
        ({"timeout": 0}, "timeout must be a number of seconds"),
        ({"retries": -1}, "retries must be a whole number from 0"),
        ({"max_side": 70_000}, "max_side must be a number of pixels from 1 to 65500"),
        ({"price_in": "2"}, "price_in must be dollars"),
        ({"extra": [1]}, "extra must be an object"),
        ({"extra": {"stream": True}}, "extra must be an object, without `messages` and `stream`"),
        ({"extra": {"a": {1, 2}}}, "extra must hold JSON values alone"),
        ({"question": "x"}, "question 'x' is unknown"),
        ({"max_cost": 1.0}, "max_cost needs price_in and price_out"),
    ],
)
def test_settings_without_sense_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        EndpointDescriber(**{"base_url": "http://a", "model": "m", **options})


def test_a_password_in_a_url_is_not_repeated():
    with pytest.raises(InputError, match="must have no user, password or query") as refused:
        EndpointDescriber("http://me:secret@a.com/v1", "m")
    assert "secret" not in str(refused.value)


def test_the_whole_url_of_a_request_is_taken_as_well():
    urls = [f" http://a/v1{end}" for end in ("", "/", "/chat/completions", "/chat/completions/")]
    assert {EndpointDescriber(url, "m").base_url for url in urls} == {"http://a/v1"}


def test_a_kill_loses_no_more_than_the_requests_under_way(tmp_path):
    script = textwrap.dedent("""
        import sys
        from PIL import Image
        from synood.models.endpoint import EndpointDescriber
        one = EndpointDescriber(sys.argv[1], "tiny", key_env=None, concurrency=2)
        images = [Image.new("RGB", (8, 8), (i, 0, 0)) for i in range(40)]
        one.describe(images, ["dog"] * 40)
    """)
    with serving(Chat(pause=0.05)) as chat:
        words = [sys.executable, "-c", script, chat.url]
        process = subprocess.Popen(words)
        deadline = time.monotonic() + 60
        while len(chat.requests) < 10 and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
        kept = (tmp_path / "cache/synood/answers").glob("*.jsonl")
        lines = [line for path in kept for line in path.read_text().splitlines() if line]
        asked = len(chat.requests)
        assert 10 <= asked < 40
        assert len(lines) >= asked - 2
        images = [Image.new("RGB", (8, 8), (i, 0, 0)) for i in range(40)]
        describer(chat, concurrency=2).describe(images, ["dog"] * 40)
    assert len(chat.requests) <= 42  # the two that were under way are asked for twice


def test_a_line_that_was_cut_short_is_asked_for_again():
    with serving(Chat()) as chat:
        one = describer(chat)
        one.describe(pictures(2), ["dog"] * 2)
        path = one._path
        path.write_bytes(path.read_bytes()[:-10])
        one.describe(pictures(3), ["dog"] * 3)
        assert len(chat.requests) == 4
        one.describe(pictures(3), ["dog"] * 3)
        assert len(chat.requests) == 4


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("bundle"), inpainter=True)


def test_a_run_asks_the_endpoint_of_a_file_or_of_its_bundle(bundle, tmp_path, capsys):
    images = make_pictures(tmp_path / "photos")
    with serving(Chat(answer="moss, stone wall")) as chat:
        part = {"type": "endpoint", "base_url": chat.url, "model": "tiny", "key_env": None}
        (tmp_path / "part.json").write_text(json.dumps(part))
        words = ["fit", images, "--out", tmp_path / "run", "--models", bundle, "--per-class", 2]
        words += ["--set", "guidance.num_inference_steps=2", "--set", "mining.share=0.5"]
        words += ["--batch-size", 2, "--describer", tmp_path / "part.json", "--device", "cpu"]
        assert main([str(word) for word in words]) == 0
        told = capsys.readouterr().err
        assert f"describe: tiny at {chat.url}: at most 6 images" in told
        assert len(chat.requests) == 6
        rows = [json.loads(r) for r in (tmp_path / "run/describe.jsonl").read_text().splitlines()]
        assert {row["text"] for row in rows} == {"moss, stone wall"}
        assert all(row["describer"].startswith("endpoint-") for row in rows)

        own = tmp_path / "own"
        shutil.copytree(bundle, own)
        change_spec(own, describer={**part, "price_in": 1, "price_out": 1, "max_cost": 1e-6})
        with pytest.raises(InputError, match="above max_cost"):
            run(images, own, tmp_path / "second")
        change_spec(own, describer=part)
        run(images, own, tmp_path / "third")
        assert len(chat.requests) == 6  # all answers were kept
    assert load_bundle(own).spec["describer"]["model"] == "tiny"


def test_an_answer_too_long_for_the_text_tower_is_shortened_and_that_is_said(
    bundle, tmp_path, capsys
):
    images = make_pictures(tmp_path / "photos")
    long = "mossy ground, weathered stone wall, wooden fence, rusty iron gate, gravel path, hilltop"
    with serving(Chat(answer=long)) as chat:
        part = {"type": "endpoint", "base_url": chat.url, "model": "tiny", "key_env": None}
        (tmp_path / "part.json").write_text(json.dumps(part))
        words = ["fit", images, "--out", tmp_path / "run", "--models", bundle, "--per-class", 2]
        words += ["--set", "guidance.num_inference_steps=2", "--set", "mining.share=0.5"]
        words += ["--batch-size", 2, "--describer", tmp_path / "part.json", "--device", "cpu"]
        template = ["--set", f"describe.template={'very ' * 40}{{}}"]
        assert main([str(word) for word in [*words, *template]]) == 2
        assert "takes the 77 tokens" in capsys.readouterr().err
        assert chat.requests == []  # refused before anything is paid for
        assert main([str(word) for word in words]) == 0
    assert "6 of 6 descriptions shortened" in capsys.readouterr().err
    rows = [json.loads(r) for r in (tmp_path / "run/describe.jsonl").read_text().splitlines()]
    assert {row["full_text"] for row in rows} == {long}
    (text,) = {row["text"] for row in rows}
    assert long.startswith(f"{text}, ")
    assert load_bundle(bundle).inpainter().check_prompts([f"A photo only remain {text}."]) is None


def test_a_run_goes_on_without_an_image_that_the_provider_refuses(bundle, tmp_path):
    images, own = make_pictures(tmp_path / "photos"), tmp_path / "own"
    shutil.copytree(bundle, own)
    with serving(Chat(answer="moss", faults=[Reply(422, {"detail": "image too dull"})])) as chat:
        part = {"type": "endpoint", "base_url": chat.url, "model": "tiny", "key_env": None}
        change_spec(own, describer={**part, "concurrency": 1})
        run(images, own, tmp_path / "run", max_bad=0.5)
    (row,) = map(json.loads, (tmp_path / "run/quarantine.jsonl").read_text().splitlines())
    assert row["stage"] == "describe"
    assert row["reason"].startswith(f"{row['id']}: no description by 'tiny': ")
    assert "image too dull" in row["reason"]


def test_a_describer_of_a_bundle_that_lacks_a_field_is_named(bundle, tmp_path):
    own = tmp_path / "own"
    shutil.copytree(bundle, own)
    change_spec(own, describer={"type": "endpoint", "model": "tiny"})
    with pytest.raises(InputError, match=r"bundle 'tiny', describer: missing .* 'base_url'"):
        load_bundle(own).describer(None)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"type": "tagger"}, "`type` is 'tagger', not one of endpoint, file"),
        ({"type": "endpoint", "url": "x"}, "unknown field 'url'; the fields are base_url, model"),
        ({"type": "endpoint", "model": "x"}, "missing a required argument: 'base_url'"),
        ([], "`type` is None"),
    ],
)
def test_a_bad_file_of_a_describer_is_named(part, message, tmp_path, capsys):
    (tmp_path / "part.json").write_text(json.dumps(part))
    make_pictures(tmp_path / "photos")
    words = [
        "fit",
        tmp_path / "photos",
        "--out",
        tmp_path / "run",
        "--models",
        "mini",
        "--describer",
    ]
    assert main([str(word) for word in [*words, tmp_path / "part.json"]]) == 2
    told = capsys.readouterr().err
    assert "part.json" in told
    assert message in told
