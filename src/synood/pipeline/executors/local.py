"""The local executor: everything in this process, one batch after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from synood.executor import B, R, Task


class LocalExecutor:
    """Does everything in this process, one batch after the other."""

    def run(self, task: Task[B, R], batches: Sequence[B]) -> Iterator[tuple[int, R]]:
        """Yield the batches' numbers and results; the task begins when the first is asked for."""
        if batches:
            yield from enumerate(map(task.begin(), batches))
