"""The preprocessing in the graph against the package's own, on photographs of every shape.

onnxruntime holds the scale of a resize in single precision, so a few values are another by a grey
level or two; geometry, filter and the order of the two passes must be Pillow's.
"""

from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from synood.deploy._graph import Graph
from synood.deploy._pixels import add_pixels, check_steps
from synood.errors import InputError
from synood.images.presets import PREPROCESS, Preprocess

pytestmark = pytest.mark.numerical

HALF = (0.5, 0.5, 0.5)
STEPS = {
    **{name: preset for name, preset in PREPROCESS.items() if not name.endswith("upright")},
    "photo": Preprocess("photo", 224, "bicubic", "center_floor", HALF, HALF, 256),
    "mini": Preprocess("mini", 96, "bilinear", "center", HALF, HALF),
    "siglip": Preprocess("siglip", 64, "bicubic", "squash", HALF, HALF),
    "squashed, then cut": Preprocess("align", 57, "bicubic", "squash", HALF, HALF, 64),
    "siglip, bilinear": Preprocess("siglip", 64, "bilinear", "squash", HALF, HALF),
}
SIZES = (
    *((640, 427), (427, 640), (300, 1200), (1200, 300), (256, 400), (224, 224), (256, 256)),
    *((97, 96), (96, 97), (333, 222), (50, 40), (3, 2), (1, 1), (31, 500)),
)


@pytest.fixture(scope="module")
def photographs():
    return [Image.fromarray(array) for array in load_sample_images().images]


@pytest.fixture(scope="module", params=STEPS)
def steps_and_graph(request):
    steps, graph = STEPS[request.param], Graph()
    images = graph.input("images", "uint8", ["images", "height", "width", 3])
    pixels = add_pixels(graph, steps, images)
    graph.output("pixels", pixels, "float32", ["images", 3, steps.size, steps.size])
    data = graph.model("pixels", {}).SerializeToString()
    return steps, onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])


def run(session, *images):
    batch = np.stack([np.asarray(image) for image in images])
    return session.run(None, {"images": batch})[0]


def test_pixels_are_those_of_the_package(steps_and_graph, photographs):
    steps, session = steps_and_graph
    most = {"bicubic": 0.002, "bilinear": 0.03}[steps.interpolation]
    for size in SIZES:
        for photograph in photographs:
            image = photograph.resize(size, Image.Resampling.LANCZOS)
            ours = np.rint(255 * steps.pixels(image))
            levels = np.abs(np.rint(255 * run(session, image)[0]) - ours)
            assert levels.max() <= 2, (steps.name, size)
            assert (levels > 0).mean() <= most, (steps.name, size)


def test_whole_photographs(steps_and_graph, photographs):
    steps, session = steps_and_graph
    for image in photographs:
        levels = np.abs(255 * (run(session, image)[0] - steps.pixels(image)))
        assert levels.max() < 1.01
        assert (levels > 0.5).mean() < (1e-3 if steps.interpolation == "bicubic" else 3e-3)


def test_images_of_one_size_go_in_together(steps_and_graph, photographs):
    _, session = steps_and_graph
    both = run(session, *photographs)
    for row, image in zip(both, photographs, strict=True):
        np.testing.assert_array_equal(row, run(session, image)[0])


def test_a_filter_that_onnx_lacks_is_refused_by_the_name_of_the_encoder():
    lanczos = replace(PREPROCESS["clip"], interpolation="lanczos")
    with pytest.raises(InputError, match=r"'mine': cannot be exported, as ONNX has no lanczos"):
        check_steps(lanczos, "mine")
