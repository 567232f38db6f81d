"""`synood zero-shot` and `synood mine`: what is made of class names alone."""

import numpy as np

from synood import OODDetector
from synood.cli import main


def test_zero_shot_from_mined_words(bundle, tmp_path, capsys):
    classes, words = tmp_path / "names.txt", tmp_path / "negatives.txt"
    classes.write_text("cat\ndog\n")
    models = ["--models", str(bundle), "--classes", str(classes)]
    assert main(["mine", *models, "--out", str(words), "--share", "0.5"]) == 0
    mined = words.read_text().splitlines()
    assert f"{len(mined)} negative labels" in capsys.readouterr().out
    plain, given = tmp_path / "plain", tmp_path / "given"
    assert main(["zero-shot", *models, "--out", str(plain), "--share", "0.5"]) == 0
    assert main(["zero-shot", *models, "--out", str(given), "--negatives", str(words)]) == 0
    assert "no threshold yet" in capsys.readouterr().out

    one, other = OODDetector.from_pretrained(plain), OODDetector.from_pretrained(given)
    assert one.negative_prompts == other.negative_prompts == tuple(mined)
    assert np.allclose(one.negative_features, other.negative_features, atol=1e-6)
