"""How long a run took, stage by stage, over all the calls that it was resumed in."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path

from mtqnet.cli.bars import Stage


@dataclass
class Clock:
    """Adds the time since the last tick to a stage and writes the sums to `path`, in seconds.

    What a kill costs is the time since the last tick.
    """

    path: Path
    last: float = field(default_factory=time.monotonic)

    def tick(self, stage: str) -> None:
        now = time.monotonic()
        seconds = self.seconds()
        seconds[stage] = round(seconds.get(stage, 0.0) + now - self.last, 2)
        self.last = now
        self._write(seconds)

    def begin(self, stage: str) -> None:
        """What a stage took before is forgotten: one that every call does anew, and whole."""
        if stage in (seconds := self.seconds()):
            self._write({name: spent for name, spent in seconds.items() if name != stage})

    def timed(self, stage: Stage) -> Stage:
        """The same, with the time between its calls written down."""

        def tick(name: str, done: int, total: int) -> None:
            self.tick(name)
            stage(name, done, total)

        return tick

    def seconds(self) -> dict[str, float]:
        """By stage, in the order in which they began."""
        if not self.path.exists():
            return {}
        stored: dict[str, float] = json.loads(self.path.read_text())
        return stored

    def minutes(self) -> dict[str, float]:
        return {stage: round(seconds / 60, 1) for stage, seconds in self.seconds().items()}

    def _write(self, seconds: dict[str, float]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(".tmp")
        partial.write_text(json.dumps(seconds, indent=1) + "\n")
        partial.replace(self.path)
