"""Where the time of a build goes: seconds by name, added up over clips, processes and calls."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Stopwatch:
    """Seconds of one process by what it did."""

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Adds the block's time to `name`."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - begun

    def record(self) -> dict[str, float]:
        return {name: round(spent, 3) for name, spent in self.seconds.items()}


def added(records: list[Mapping[str, float]]) -> dict[str, float]:
    """Seconds by name over all records, the most first."""
    total: dict[str, float] = defaultdict(float)
    for record in records:
        for name, spent in record.items():
            total[name] += spent
    return dict(sorted(total.items(), key=lambda entry: -entry[1]))
