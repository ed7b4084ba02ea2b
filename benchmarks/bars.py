"""Limits for speed, memory and size, and whether a run meets them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from measures import Row
from verdicts import Bar

SMALL, BASE = "mtqnet small", "mtqnet base"
FLOOR, DNSMOS, DISTILLMOS = "decode + log-mel", "DNSMOS (speechmos)", "Distill-MOS"
SHORT = ("6 s", "8 s", "10 s")
"""Clips of 6 to 10 s. DNSMOS takes windows of 9 s and repeats shorter clips until they fill one, so lengths count
together: milliseconds over seconds of all three."""
HOUR, TEN_HOURS = "3600 s", "36000 s"


VERDICTS = {None: "not measured", True: "met", False: "MISSED"}
"""Text by whether a limit is met"""


def cells(bar: Bar) -> tuple[str, str, str, str]:
    """Return the name of a limit, the measured value, the limit and the verdict."""
    return (bar.name, *bar.figures, VERDICTS[bar.kept])


class Figures:
    """Rows by measure, predictor, number of cores and clip."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._values = {(row.measure, row.scorer, row.cores, row.clip): row.value for row in rows}

    def of(self, measure: str, scorer: str, cores: int, clip: str) -> float | None:
        return self._values.get((measure, scorer, cores, clip))

    def short(self, scorer: str) -> float | None:
        """Milliseconds per second of audio on one core, over all SHORT clips."""
        found = [(float(clip.split()[0]), self.of("clips", scorer, 1, clip)) for clip in SHORT]
        if any(value is None for _, value in found):
            return None
        return sum(length * (value or 0.0) for length, value in found) / sum(length for length, _ in found)

    def folder(self, scorer: str, cores: int) -> float | None:
        """Seconds of audio per second"""
        found = (v for (m, s, c, _), v in self._values.items() if (m, s, c) == ("folder", scorer, cores))
        return next(found, None)

    def tables(self, scorer: str) -> float | None:
        """Number of different tables that the runs wrote, with any number of jobs."""
        return self.of("same bytes", scorer, 0, "any jobs")


def bars(rows: Sequence[Row]) -> list[Bar]:
    """All limits, measured or not."""
    found = Figures(rows)
    short, of = found.short, found.of
    lines = [
        Bar("small: speed relative to DNSMOS, clips of 6 to 10 s", _ratio(short(DNSMOS), short(SMALL)), 60, True),
        Bar("base: speed relative to DNSMOS, clips of 6 to 10 s", _ratio(short(DNSMOS), short(BASE)), 15, True),
        Bar(
            "base: speed relative to Distill-MOS, clip of 60 s",
            _ratio(of("clips", DISTILLMOS, 1, "60 s"), of("clips", BASE, 1, "60 s")),
            60,
            True,
        ),
        Bar(
            "small: time relative to decoding and log-mel features, 6 to 10 s",
            _ratio(short(SMALL), short(FLOOR)),
            5,
            False,
        ),
    ]
    return lines + [bar for scorer in (SMALL, BASE) for bar in _of_each(scorer, found)]


def _of_each(scorer: str, found: Figures) -> list[Bar]:
    name, of = scorer.split()[1], found.of
    hour, ten = of("memory", scorer, 1, HOUR), of("memory", scorer, 1, TEN_HOURS)
    first = _ratio(of("first", scorer, 1, "10 s"), of("first", DNSMOS, 1, "10 s"))
    size = _ratio(of("installed", scorer, 0, ""), of("installed", DNSMOS, 0, ""))
    spread = None if hour is None or ten is None else abs(ten - hour) / hour
    return [
        Bar(
            f"{name}: time from process start to the first score (10 s), relative to speechmos", first, 0.25, False
        ),
        Bar(f"{name}: peak memory for ten hours, MB", ten, 300, False),
        Bar(f"{name}: difference of the peak memory for ten hours and one hour, relative", spread, 0.10, False),
        Bar(f"{name}: installed size, relative to speechmos", size, 0.40, False),
        Bar(
            f"{name}: speed on two cores relative to one, folder",
            _ratio(found.folder(scorer, 2), found.folder(scorer, 1)),
            1.8,
            True,
        ),
        Bar(
            f"{name}: number of different tables of repeated runs with 1 and 2 jobs",
            found.tables(scorer),
            1,
            False,
        ),
    ]


def _ratio(over: float | None, under: float | None) -> float | None:
    return None if over is None or under is None else over / under
