"""Executor: who does the heavy work of a run - this process, or the workers of a cluster.

A task is plain data: it can be sent to a worker, which begins it once - models are loaded then -
and goes through batches with it. The caller makes the batches, so the same batches reach the models
whatever the executor and however many workers it has, and give the same bytes where a worker
computes with as many threads as this process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

B = TypeVar("B")
R = TypeVar("R")
B_contra = TypeVar("B_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)


class Task(Protocol[B_contra, R_co]):
    """What is done with every batch. It can be pickled, and so can its batches and results."""

    def begin(self, device: str | None = None) -> Callable[[B_contra], R_co]:
        """Load what is needed, on `device` or where the task says, and return the work."""


class Executor(Protocol):
    """Does a task on many batches."""

    def run(self, task: Task[B, R], batches: Sequence[B]) -> Iterator[tuple[int, R]]:
        """Yield each batch's number and result once, as they are finished, in any order.

        A batch that waits for a lost worker holds up no other. Without batches no task begins.
        An `InputError` raised by the work is raised here.
        """


def in_order(results: Iterator[tuple[int, R]]) -> list[R]:
    """Wait for all results and return them in the order of their batches.

    >>> in_order(iter([(1, "b"), (0, "a")]))
    ['a', 'b']
    """
    return [*in_turn(results)]


def in_turn(results: Iterator[tuple[int, R]]) -> Iterator[R]:
    """Yield results in the order of their batches, each as soon as all before it are there.

    >>> [*in_turn(iter([(1, "b"), (0, "a"), (2, "c")]))]
    ['a', 'b', 'c']
    """
    early: dict[int, R] = {}
    due = 0
    for number, result in results:
        early[number] = result
        while due in early:
            yield early.pop(due)
            due += 1
