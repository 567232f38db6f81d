"""Where an encoder is out of its depth, the command says so then."""

import pytest

PHOTO = "knows drawings, such as emoji and clip art, and sees photographs badly"


@pytest.fixture(scope="module")
def mini(tmp_path_factory):
    """A detector of names on the embedded encoder; its negative labels are given, to be quick."""
    from synood import OODDetector

    out = tmp_path_factory.mktemp("mini") / "detector"
    made = OODDetector.from_classes(["cat", "dog"], models="mini", negatives=["rope", "lamp"])
    made.save_pretrained(out)
    return out


def test_names_alone_are_told_what_the_encoder_is_for(done, tmp_path):
    (tmp_path / "names.txt").write_text("cat\nxqzvw\n")
    (tmp_path / "negatives.txt").write_text("rope\nlamp\n")
    words = ("--classes", tmp_path / "names.txt", "--negatives", tmp_path / "negatives.txt")
    printed = done("zero-shot", *words, "--out", tmp_path / "d", "--models", "mini")
    assert f"{PHOTO}; use --models photo for photographs" in printed.err
    assert "class name 'xqzvw': no word that the encoder of bundle 'mini' knows" in printed.err


@pytest.mark.parametrize("command", ["score", "explain", "evaluate"])
def test_photographs_are_not_scored_by_an_encoder_of_drawings_unsaid(
    done, mini, images, others, command
):
    """The images of the fixtures are noise, as no drawing is."""
    words = ("--id", images, "--ood", f"far={others}") if command == "evaluate" else (images,)
    printed = done(command, mini, *words)
    assert f"{PHOTO}: these look like photographs" in printed.err


def test_other_encoders_are_not_spoken_of(done, detector, images):
    assert "drawings" not in done("score", detector, images).err
    assert PHOTO not in done("show", detector).out


def test_show_says_what_the_encoder_is_for(done, mini):
    assert PHOTO in done("show", mini).out
