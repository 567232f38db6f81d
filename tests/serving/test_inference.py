"""The Open Inference Protocol, asked by Triton's client and by hand."""

import base64
import json
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient import http as triton
from tritonclient.utils import InferenceServerException

from synood import OODDetector
from synood.serving.faults import RequestError
from synood.serving.inference import HEADER_LENGTH, read_inference
from synood.serving.served import load_served

pytestmark = pytest.mark.numerical
OUTPUTS = ("score", "p_value", "is_ood", "label")


@pytest.fixture(scope="module")
def client(server):
    with triton.InferenceServerClient(f"{server.host}:{server.port}") as client:
        yield client


@pytest.fixture(scope="module")
def expected(detectors, image_files):
    found = OODDetector.from_pretrained(detectors / "first").predict(image_files)
    return {
        "score": np.array([one.score for one in found], np.float32),
        "p_value": np.array([one.p_value for one in found]),
        "is_ood": np.array([one.is_ood for one in found]),
        "label": [one.label for one in found],
    }


def images_input(contents, shape=None):
    given = triton.InferInput("image", shape or [len(contents)], "BYTES")
    given.set_data_from_numpy(np.array(contents, np.object_).reshape(shape or -1))
    return given


def agree(result, expected, names=OUTPUTS):
    for name in names:
        found = result.as_numpy(name)
        if name == "label":
            texts = [one.decode() if isinstance(one, bytes) else one for one in found.tolist()]
            assert texts == expected[name]
        else:
            assert found.dtype == expected[name].dtype
            assert found.tobytes() == expected[name].tobytes()


def test_the_server_and_its_models_are_described(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("first")
    assert client.is_model_ready("second one")
    assert not client.is_model_ready("third")
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    described = client.get_model_metadata("first")
    assert described["name"] == "first"
    assert described["inputs"] == [{"name": "image", "datatype": "BYTES", "shape": [-1]}]
    assert [(one["name"], one["datatype"]) for one in described["outputs"]] == [
        ("score", "FP32"), ("p_value", "FP64"), ("is_ood", "BOOL"), ("label", "BYTES"),
    ]  # fmt: skip


def test_images_and_answers_as_binary_tensors(client, image_files, expected):
    contents = [path.read_bytes() for path in image_files]
    result = client.infer("first", [images_input(contents)], request_id="mine")
    agree(result, expected)
    assert result.get_response()["id"] == "mine"
    assert result.get_response()["model_name"] == "first"
    agree(client.infer("first", [images_input(contents, [4, 2])]), expected)  # the order is kept


@pytest.mark.parametrize("binary", [True, False])
def test_only_the_outputs_that_are_asked_for(client, image_files, expected, binary):
    wanted = [triton.InferRequestedOutput(name, binary_data=binary) for name in ("label", "score")]
    contents = [path.read_bytes() for path in image_files]
    result = client.infer("first", [images_input(contents)], outputs=wanted)
    agree(result, expected, ("label", "score"))
    assert [one["name"] for one in result.get_response()["outputs"]] == ["label", "score"]
    assert all(("data" in one) != binary for one in result.get_response()["outputs"])


def test_images_as_json(client, image_files, expected):
    given = triton.InferInput("image", [len(image_files)], "BYTES")
    texts = [base64.b64encode(path.read_bytes()) for path in image_files]
    given.set_data_from_numpy(np.array(texts, np.object_), binary_data=False)
    wanted = [triton.InferRequestedOutput(name, binary_data=False) for name in OUTPUTS]
    agree(client.infer("first", [given], outputs=wanted), expected)


def test_json_by_hand_is_answered_in_json(server, image_files, expected):
    texts = [base64.b64encode(path.read_bytes()).decode() for path in image_files]
    request = {"inputs": [{"name": "image", "shape": [8, 1], "datatype": "BYTES"}]}
    for data in (texts, [[text] for text in texts]):
        request["inputs"][0]["data"] = data
        found = server.ask("POST", "/v2/models/first/infer", json.dumps(request)).json
        by_name = {one["name"]: one["data"] for one in found["outputs"]}
        assert np.array(by_name["score"], np.float32).tobytes() == expected["score"].tobytes()
        assert by_name["is_ood"] == expected["is_ood"].tolist()
        assert by_name["label"] == expected["label"]


def test_a_client_is_told_what_is_wrong(client, png):
    for call, told in (
        (lambda: client.infer("third", [images_input([png])]), "no model 'third'"),
        (lambda: client.infer("first", [images_input([png, b"text"])]), "image 1: not an image"),
        (
            lambda: client.infer("first", [triton.InferInput("pixels", [1], "BYTES")]),
            "inputs.0.name",
        ),
        (
            lambda: client.infer(
                "first", [images_input([png])], request_compression_algorithm="gzip"
            ),
            "Content-Encoding",
        ),
    ):
        with pytest.raises(InferenceServerException, match=told):
            call()


def body_of(*, data=None, size=None, shape=(1,), tail=b"", **changes):
    tensor = {"name": "image", "shape": list(shape), "datatype": "BYTES"}
    if data is not None:
        tensor["data"] = data
    if size is not None:
        tensor["parameters"] = {"binary_data_size": size}
    head = json.dumps({"inputs": [{**tensor, **changes}]}).encode()
    return bytearray(head + tail), str(len(head))


@pytest.fixture(scope="module")
def first(detectors):
    return load_served(detectors / "first")["first"]


ELEMENT = struct.pack("<I", 3) + b"abc"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (body_of(data=["YWJj"], shape=(2,)), "1 images for the shape"),
        (body_of(data=[], shape=(0,)), "0 images for the shape"),
        (body_of(), "data: is missing"),
        (body_of(data=["no base64!"]), "base64"),
        (body_of(data=[3]), "base64"),
        (body_of(data=[["YWJj"]]), "base64"),  # deeper than its shape
        (body_of(data=["YWJj"], tail=b"x"), "1 bytes follow the JSON"),
        (body_of(size=7, tail=ELEMENT[:-1]), "binary_data_size must be the 6 bytes"),
        (body_of(size=7, tail=ELEMENT, data=["YWJj"]), "`data` left out"),
        (body_of(size="7", tail=ELEMENT), "binary_data_size"),
        (body_of(size=True, tail=b"\0"), "binary_data_size"),
        (body_of(size=6, tail=struct.pack("<I", 3) + b"ab"), "longer than the tensor"),
        (body_of(size=3, tail=b"\0\0\0"), "longer than the tensor"),
        (body_of(size=4, tail=b"\xff\xff\xff\xff"), "longer than the tensor"),
        (body_of(data=["YWJj"] * 5, shape=(5,)), "more than 4 images"),
        (body_of(size=35, tail=5 * ELEMENT, shape=(5,)), "more than 4 images"),
        (body_of(data=["YWJj"], datatype="FP32"), "inputs.0.datatype"),
        (body_of(data=["YWJj"], shape=[-1]), "inputs.0.shape"),
        (body_of(data=["YWJj"], parameters={"shared_memory_region": "a"}), "shared memory"),
        ((bytearray(b"{"), None), "is not JSON"),
        ((bytearray(b"[NaN]"), None), "NaN is no number"),
        ((bytearray(b"\xff"), None), "is not JSON"),
        ((bytearray(b"[" * 4000), None), "is not JSON"),
        ((bytearray(b"[[],[]" * 5000), None), "too many values"),
        ((bytearray(b"{}"), "-1"), HEADER_LENGTH),
        ((bytearray(b"{}"), "3"), HEADER_LENGTH),
        ((bytearray(b"{}"), "9" * 5000), HEADER_LENGTH),
        ((bytearray(b'{"inputs": []}'), None), "inputs"),
        ((bytearray(b"3"), None), "the body"),
    ],
)
def test_broken_requests_are_refused_with_a_sentence(first, body, told):
    data, length = body
    with pytest.raises(RequestError) as refused:
        read_inference(data, length, first, 4)
    assert told in refused.value.detail
    assert refused.value.status in (400, 413)
    assert len(refused.value.detail) < 300


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=4), st.booleans())
def test_every_list_of_bytes_comes_through(first, images, binary):
    shape = (len(images),)
    if binary:
        tail = b"".join(struct.pack("<I", len(image)) + image for image in images)
        body, length = body_of(size=len(tail), tail=tail, shape=shape)
    else:
        texts = [base64.b64encode(image).decode() for image in images]
        body, length = body_of(data=texts, shape=shape)
    assert read_inference(body, length, first, 4).images == tuple(images)


@given(st.binary(max_size=200), st.none() | st.text(max_size=4))
def test_no_bytes_are_more_than_refused(first, body, length):
    with pytest.raises(RequestError):
        read_inference(bytearray(body), length, first, 4)
