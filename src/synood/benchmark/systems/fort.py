"""Fort et al.: the class names against names of outliers that are known beforehand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synood.benchmark.protocol.baselines import TEMPERATURES, neglabel_scorer
from synood.benchmark.protocol.methods import ENCODER, NAMES, Method
from synood.benchmark.protocol.system import Fitted, System
from synood.benchmark.systems._choosing import Option, best_of
from synood.benchmark.systems._described import other_names
from synood.errors import InputError
from synood.settings import ScoreSettings

if TYPE_CHECKING:
    from synood.benchmark.protocol.fit_inputs import FitInputs

FORT = Method(
    "fort",
    "Outlier names (Fort et al.)",
    "Fort, Ren and Lakshminarayanan, NeurIPS 2021, arXiv 2106.03004, section 5",
    "inductive",
    (ENCODER, NAMES, "names of the outliers"),
)


def fit_fort(inputs: FitInputs, seed: int) -> Fitted:
    """Take the outlier names given, else what the validation OOD images show, if it is known.

    The score is the class names' part of one softmax over both; its temperature is chosen on
    validation images.
    """
    names = other_names(inputs.outlier_names or inputs.validation_names, inputs.class_names)
    if not names:
        raise InputError(
            "Fort et al.: no name of an outlier is known: give outlier names, or a benchmark whose "
            "validation OOD images have classes"
        )
    outliers = inputs.name_features(names)
    source = "given" if inputs.outlier_names else "validation OOD sets"
    options = [
        Option(
            {"temperature": t, "names": len(names), "source": source},
            neglabel_scorer(
                inputs.class_features, outliers, ScoreSettings(temperature=t, groups=1)
            ),
        )
        for t in TEMPERATURES
    ]
    return best_of(inputs, options, outliers.size)


SYSTEMS = (System(FORT, fit_fort),)
