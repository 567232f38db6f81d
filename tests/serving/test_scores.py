"""The plain API: verdicts equal to those of `synood score`, a row for every file."""

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from synood import OODDetector
from synood.cli import main
from synood.detector.rows import EXPLANATION_COLUMNS

pytestmark = pytest.mark.numerical
FIRST = "?model=first"


def sent(paths):
    return [(path.name, path.read_bytes()) for path in paths]


def scored_here(capsys, detector, paths, *options):
    assert main(["score", str(detector), *map(str, paths), "--format", "jsonl", *options]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return [{key: value for key, value in row.items() if key != "path"} for row in rows]


def test_rows_are_those_of_the_command_line(server, detectors, image_files, capsys):
    answer = server.score(sent(image_files), FIRST)
    assert answer.status == 200
    found = answer.json
    assert [row.pop("name") for row in found["results"]] == [path.name for path in image_files]
    detector = OODDetector.from_pretrained(detectors / "first")
    assert {row.pop("threshold") for row in found["results"]} == {detector.threshold}
    assert found["results"] == scored_here(capsys, detectors / "first", image_files)
    assert (found["model"], found["threshold"]) == ("first", detector.threshold)


def test_explained_rows_are_those_of_the_command_line(server, detectors, image_files, capsys):
    found = server.score(sent(image_files[:3]), f"{FIRST}&explain=true").json["results"]
    for row in found:
        del row["name"], row["threshold"]
    assert found == scored_here(capsys, detectors / "first", image_files[:3], "--explain")
    assert set(EXPLANATION_COLUMNS) < set(found[0])


def test_scores_of_many_clients_at_once_are_those_of_one_alone(server, detectors, image_files):
    expected = {
        name: OODDetector.from_pretrained(detectors / name).score(image_files)
        for name in ("first", "second one")
    }

    def ask(number):
        name = ("first", "second one")[number % 2]
        rows = [(3 * number + step) % len(image_files) for step in range(1 + number % 4)]
        query = f"?model={name.replace(' ', '%20')}" + "&explain=1" * (number % 3 == 0)
        answer = server.score(sent([image_files[row] for row in rows]), query)
        assert answer.status == 200, answer.body
        found = np.array([row["score"] for row in answer.json["results"]], np.float32)
        return found.tobytes() == expected[name][rows].tobytes()

    with ThreadPoolExecutor(16) as clients:
        assert all(clients.map(ask, range(64)))


def test_an_image_that_cannot_be_read_has_its_reason_and_the_others_are_scored(server, png):
    images = [("good.png", png), ("cut.png", png[:45]), ("text.txt", b"hello"), ("empty", b"")]
    rows = server.score(images, FIRST).json["results"]
    assert rows[0]["score"] == server.score(images[:1], FIRST).json["results"][0]["score"]
    assert [row.get("error", "").partition(":")[0] for row in rows] == [
        "", "cut.png", "text.txt", "empty",
    ]  # fmt: skip
    assert all(row["score"] is None and row["is_ood"] is None for row in rows[1:])
    assert all("/" not in row["error"].partition("(")[0] for row in rows[1:])


def test_names_of_files_come_back_as_they_were_sent(server, png):
    names = ["naïve 写真.png", "../../etc/passwd", "a" * 300, "100%", ""]
    rows = server.score([(name, png) for name in names], FIRST).json["results"]
    assert [row["name"] for row in rows] == [*names[:4], "image 5"]


def test_models_are_described_for_the_page(server, detectors):
    found = server.ask("GET", "/v1/models").json
    assert [model["name"] for model in found["models"]] == ["first", "second one"]
    assert [model["classes"] for model in found["models"]] == [3, 2]
    for model in found["models"]:
        detector = OODDetector.from_pretrained(detectors / model["name"])
        assert model["threshold"] == detector.threshold
        assert model["tpr"] == 0.5
        assert model["negative_labels"] == len(detector.negative_prompts)
        known = detector.calibration.scores
        shown = model["calibration"]
        assert sum(shown["counts"]) == shown["images"] == len(known)
        assert len(shown["edges"]) == len(shown["counts"]) + 1
        assert np.allclose(shown["edges"][:1] + shown["edges"][-1:], [known[0], known[-1]])
    assert found["limits"] == {"body_bytes": 32 * 2**20, "files": 64, "pixels": 50_000_000}


def test_the_description_knows_every_column():
    from synood.detector.rows import COLUMNS
    from synood.serving.schemas import Row

    known = {*COLUMNS, *EXPLANATION_COLUMNS, "name", "threshold", "error"}
    assert set(Row.model_fields) == known


@pytest.mark.parametrize(
    ("query", "status", "told"),
    [
        ("", 400, "name one of first, second one"),
        ("?model=third", 404, "no model 'third'"),
        ("?model=first&explain=perhaps", 422, "query.explain"),
    ],
)
def test_a_request_for_no_model_says_which_there_are(server, png, query, status, told):
    answer = server.score([("a.png", png)], query)
    assert answer.status == status
    assert [*answer.json] == ["detail"]
    assert told in answer.json["detail"]
