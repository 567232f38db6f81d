"""What /metrics shows, read by Prometheus's own parser."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from serving_client import running
from synood import OODDetector
from synood.detector.watching import Watch


@pytest.fixture
def own_server(detectors, tmp_path):
    with running(detectors / "first", tmp_path / "log") as started:
        yield started


def samples(server):
    text = server.ask("GET", "/metrics").body.decode()
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def labels(**values):
    return sorted(values.items())


def test_everything_that_was_asked_is_counted(own_server, detectors, image_files):
    detector = OODDetector.from_pretrained(detectors / "first")
    expected = [*detector.predict(image_files * 3)]
    images = [(path.name, path.read_bytes()) for path in image_files * 3]
    for image in images:  # one by one: the stream is in their order
        assert own_server.score([image]).status == 200
    assert own_server.score([("text", b"text")]).status == 200
    assert own_server.ask("GET", "/missing").status == 404
    found = samples(own_server)

    for one in {(one.label, one.is_ood) for one in expected}:
        count = sum((other.label, other.is_ood) == one for other in expected)
        verdict = {"model": "first", "class": one[0], "verdict": "ood" if one[1] else "in"}
        assert found[("synood_verdicts_total", *labels(**verdict))] == count
    assert found[("synood_score_count", ("model", "first"))] == len(expected)
    below = sum(one.score <= -10 for one in expected)
    assert found[("synood_score_bucket", *labels(model="first", le="-10.0"))] == below
    assert found[("synood_threshold", ("model", "first"))] == detector.threshold
    assert found[("synood_errors_total", ("kind", "unreadable"))] == 1
    assert found[("synood_decode_seconds_count",)] == len(expected)
    assert found[("synood_batch_images_sum",)] == len(expected)
    assert found[("synood_requests_total", *labels(route="/v1/score", status="200"))] == 25
    assert found[("synood_requests_total", *labels(route="other", status="404"))] == 1
    assert found[("synood_queue_images",)] == found[("synood_upload_bytes",)] == 0
    assert found[("process_resident_memory_bytes",)] > 0

    watch = Watch.of(detector.calibration)
    for one in expected:
        watch.add(one)
    state = watch.state
    assert found[("synood_drift", ("model", "first"))] == state.is_drift
    for test, one in (("stream", state.streams["score"]), ("window", state.windows["score"])):
        names = labels(model="first", quantity="score", test=test)
        assert found[("synood_drift_p_value", *names)] == pytest.approx(one.p_val)
        assert found[("synood_drift_distance", *names)] == pytest.approx(one.distance)
    names = labels(model="first", quantity="score")
    assert found[("synood_drift_psi", *names)] == pytest.approx(state.windows["score"].psi)
