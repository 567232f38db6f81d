"""What routes share: bodies are parsed a few at a time, however many have come."""

import asyncio
import threading
import time

import pytest

from synood.serving.bodies import Uploads
from synood.serving.limits import Limits
from synood.serving.metrics import Metrics
from synood.serving.service import PARSED_AT_ONCE, Service
from synood.serving.worker import Worker


@pytest.fixture
def service():
    limits, metrics = Limits(), Metrics()
    worker = Worker(limits, metrics)
    yield Service({}, worker, limits, metrics, Uploads(limits))
    worker.stop()


def test_few_bodies_are_parsed_at_a_time_and_all_in_the_end(service):
    lock, now, most = threading.Lock(), 0, 0

    def parse(body):
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.02)
        with lock:
            now -= 1
        if body == b"6":
            raise ValueError
        return bytes(body)

    async def many():
        bodies = [bytearray(b"%d" % number) for number in range(12)]
        found = await asyncio.gather(
            *(service.parsed(body, parse) for body in bodies), return_exceptions=True
        )
        return found, bodies

    found, bodies = asyncio.run(many())
    assert most == PARSED_AT_ONCE
    assert isinstance(found.pop(6), ValueError)
    assert found == [b"%d" % number for number in range(12) if number != 6]
    assert [len(body) for body in bodies] == [0] * 6 + [1] + [0] * 5
