"""Do images look like photographs, or drawn? Told by how often neighbouring pixels are equal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from synood.errors import InputError
from synood.images.decoding import read_image

if TYPE_CHECKING:
    from synood.images.sources import ImageIndex

SAMPLE = 9  # images that are looked at, evenly spaced
# Fraction of pixels that equal their right neighbour, median over a sample: .01 to .07 in
# photographs of goods, textures, animals and tiles, .2 to .7 in sets of drawn images, whose areas
# are of one colour; white backgrounds raise it.
DRAWN = 0.15


def look_like_photographs(index: ImageIndex) -> bool:
    """Whether most of a sample of the images look like photographs; False where none can be read.

    Cut-outs on a plain background look drawn by this measure.
    """
    count = len(index.records)
    places = sorted({number * count // SAMPLE for number in range(SAMPLE)} if count else ())
    found = []
    for place in places:
        try:
            pixels = np.asarray(read_image(index.records[place].path))
        except InputError:  # what reads all images says why
            continue
        if pixels.shape[1] > 1:
            found.append(float((pixels[:, 1:] == pixels[:, :-1]).all(axis=2).mean()))
    return bool(found) and float(np.median(found)) < DRAWN
