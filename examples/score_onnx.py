"""Score images by a file that `synood export` wrote: python score_onnx.py FILE.onnx IMAGE...

Needs onnxruntime, numpy and pillow alone.
"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps


def rgb(path: str, plain: bool) -> np.ndarray:
    """Return an image as (1, H, W, 3) bytes: upright and on white, unless the detector is plain."""
    image = Image.open(path)
    if not plain:
        image = ImageOps.exif_transpose(image)
        if image.has_transparency_data:
            white = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(white, image.convert("RGBA"))
    return np.asarray(image.convert("RGB"))[None]


def main(file: str, *paths: str) -> None:
    """Print a verdict on each image."""
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    told = session.get_modelmeta().custom_metadata_map
    names, plain = json.loads(told["class_names"]), json.loads(told["plain"])
    for path in paths:
        inputs = {"images": rgb(path, plain)}  # "threshold" may stand beside it
        (score,), (is_ood,), (label,) = session.run(["score", "is_ood", "label"], inputs)
        print(f"{'OOD' if is_ood else 'in'}\t{score:.2f}\t{names[label]}\t{path}")


if __name__ == "__main__":
    main(*sys.argv[1:])
