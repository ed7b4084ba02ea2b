"""Results: six scores or a reason for each recording, and what they were computed with."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self, overload

import numpy as np
from numpy.typing import NDArray

from mtqnet.audio.flags import Level, level_of
from mtqnet.errors import AudioError, UsageError, with_file
from mtqnet.scoring.intervals import Interval
from mtqnet.targets import BY_KEY, KEYS, TARGETS, Target

ENDS: tuple[str, ...] = tuple(f"{key}_{end}" for key in KEYS for end in ("low", "high"))
"""Columns of the prediction intervals"""
COLUMNS: tuple[str, ...] = (
    "file", "channel", *KEYS, *ENDS, "duration_s", "model", "model_sha256", "version", "flags", "error",
)  # fmt: skip
"""Columns of a table of recordings, in order"""
SHOWN_ROWS = 100
"""Rows of `Results` that a notebook shows"""

Cell = str | float | None


def spoken(target: Target, value: float, interval: Interval | None = None) -> str:
    """Format a score for people, such as "S-MOS 3.42 [3.10, 3.75]"."""
    text = f"{target.name.split()[0]} {digits(target, value)}"
    if interval is None:
        return text
    return f"{text} [{digits(target, interval.low)}, {digits(target, interval.high)}]"


def digits(target: Target, value: float) -> str:
    """Format a value with two decimals, or with two significant digits on a logarithmic scale."""
    return f"{value:.2g}" if target.log else f"{value:.2f}"


@dataclass(frozen=True)
class Track:
    """Scores along the time axis, clipped to the range of each target.

    `values[i, j]` is the score of target `targets[j]` at `times_s[i]`. In `Scores.track` there is one row per frame
    of the model. In the result of `over_time` there is one every 0.5 s, and at most 600 for a longer recording; each
    covers the 3 s around its time, and pauses have none.
    """

    times_s: NDArray[np.float64]
    """Centre of each frame in seconds from the start of the recording, shape (frames,)"""
    values: NDArray[np.float64]
    """Scores, shape (frames, targets)"""
    targets: tuple[str, ...]
    """Target keys of the second axis"""
    causes: NDArray[np.float64] | None = None
    """Probabilities of the kinds of degradation, shape (frames, causes); None for a model without causes"""
    cause_keys: tuple[str, ...] = ()
    """Keys of `mtqnet.causes.CAUSES` of the second axis of `causes`"""


@dataclass(frozen=True)
class WindowScores:
    """Scores of one window of a recording, clipped to the range of each target."""

    start_s: float
    """Seconds from the start of the recording"""
    end_s: float
    weight: float
    """Weight of the window, 0 to 1. The scores of the recording are the weighted sum over its windows."""
    values: tuple[float, ...]
    targets: tuple[str, ...]
    """Target keys of `values`"""
    intervals: Mapping[str, Interval] = field(default_factory=dict, hash=False)
    """Prediction interval by target key"""

    def value(self, key: str) -> float | None:
        """Return the score of a target; None if the model does not have it."""
        return self.values[self.targets.index(key)] if key in self.targets else None


@dataclass(frozen=True, repr=False)
class Scores:
    """Scores of one recording, or the reason why there are none.

    A score is None if there is an error, or if the model does not have this target. Higher is better, except for
    `sdi_est`. `mtqnet.TARGETS` describes all six.

    `causes` are probabilities of kinds of degradation (`mtqnet.causes.CAUSES`), and `cause` is a sentence about them;
    both are empty for a model without causes. `distance` is the distance of the recording from the training clips of
    the model. `windows` are the scores of the windows of up to 10 s.

    >>> scores = mtqnet.score("call.wav")           # doctest: +SKIP
    >>> scores.g_mos, scores.flags                  # doctest: +SKIP
    (3.4, ())
    """

    s_mos: float | None = None
    """Quality of the speech signal, 1 to 5 (P.835 SIG)"""
    n_mos: float | None = None
    """Absence of disturbing background noise, 1 to 5 (P.835 BAK)"""
    g_mos: float | None = None
    """Overall quality, 1 to 5 (P.835 OVRL)"""
    pesq_est: float | None = None
    """Estimate of wideband PESQ, 1 to 4.64"""
    stoi_est: float | None = None
    """Estimate of STOI, 0 to 1"""
    sdi_est: float | None = None
    """Estimate of the speech distortion index, 0.0001 to 10; lower is better"""
    intervals: Mapping[str, Interval] = field(default_factory=dict, hash=False)
    """90 % prediction interval by target key: it covers 90 % of the labels of recordings like the calibration clips.
    Empty if the model was not calibrated"""
    file: str | None = None
    """Path as it was given; None for samples in memory"""
    channel: int | None = None
    """Number of the channel, from 1; None for the mix of all channels"""
    duration_s: float | None = None
    """Duration in seconds; None if the recording could not be read"""
    model: str = ""
    """Name of the model"""
    model_sha256: str = ""
    """SHA-256 of its ONNX file"""
    version: str = ""
    """Version of mtqnet"""
    flags: tuple[str, ...] = ()
    """Flags, which are warnings about this recording, for example "clipped" or "short"; docs/flags.md lists all"""
    error: str | None = None
    """Reason why there are no scores"""
    causes: Mapping[str, float] = field(default_factory=dict, hash=False)
    """Calibrated probability, 0 to 1, of each kind of degradation (`mtqnet.causes.CAUSES`); empty for a model without
    causes"""
    cause: str = ""
    """Most probable causes of low quality (see `causes`) with their positions and a suggestion, in a sentence; empty
    if none is found"""
    distance: float | None = None
    """Distance between the features of the recording in the network and those of the training clips, without unit. It
    is about 1 for a training clip, and larger for a recording that differs from them; then the intervals are wider.
    None for a model that does not measure it"""
    windows: tuple[WindowScores, ...] = field(default=(), compare=False)
    """Scores of each window in order. A recording of more than 10 s is cut into windows of up to 10 s; a shorter one
    is one window"""
    track: Track | None = field(default=None, compare=False)
    """Scores of each frame of the model (80 ms for the shipped models); None without scores, or if tracks were not
    requested (`track=False` of `Predictor`, or several processes)"""
    exception: Exception | None = field(default=None, compare=False)
    """Exception whose text is `error`, which `raise_for_error` raises; None for a row that was read from a table"""

    @property
    def level(self) -> Level:
        """`ok`, `caution` (interpret the scores with care, see `flags`) or `refused` (no scores)."""
        return "refused" if self.error is not None else level_of(self.flags)

    def raise_for_error(self) -> Self:
        """Raise an exception if the recording was not scored.

        Returns:
            These scores.

        Raises:
            AudioError: The recording was not scored; the message begins with its file. Other exceptions are possible
                for faults of this package.
        """
        if isinstance(self.exception, AudioError) and self.file is not None:
            raise with_file(self.exception, self._name) from self.exception
        if self.exception is not None:
            raise self.exception
        if self.error is not None:
            raise AudioError(self.error if self.file is None else f"{self._name}: {self.error}")
        return self

    def value(self, key: str) -> float | None:
        """Return the score of a target. Raises KeyError for an unknown key."""
        if key not in KEYS:
            raise KeyError(key)
        number: float | None = getattr(self, key)
        return number

    def as_row(self) -> dict[str, Cell]:
        """Return one cell per column in the order of COLUMNS, not rounded. Flags are separated by blanks."""
        cells: dict[str, Cell] = {name: getattr(self, name) for name in COLUMNS if name not in ENDS}
        ends: dict[str, Cell] = dict.fromkeys(ENDS)
        for key, interval in self.intervals.items():
            ends |= {f"{key}_low": interval.low, f"{key}_high": interval.high}
        cells |= ends | {"flags": " ".join(self.flags)}
        return {name: cells[name] for name in COLUMNS}

    @property
    def _name(self) -> str:
        name = self.file or "recording"
        return name if self.channel is None else f"{name} channel {self.channel}"

    def __str__(self) -> str:
        if self.error is not None:
            return f"{self._name}: not scored: {self.error}"
        values = ((target, self.value(target.key), self.intervals.get(target.key)) for target in TARGETS)
        text = "  ".join(
            spoken(target, value, interval) for target, value, interval in values if value is not None
        )
        return f"{self._name}: {text}" + (f"  ({', '.join(self.flags)})" if self.flags else "")

    def __repr__(self) -> str:
        """Return a short text: the scores, flags or the error, without intervals and windows."""
        parts = [] if self.file is None else [f"file={self.file!r}"]
        parts += [] if self.channel is None else [f"channel={self.channel}"]
        if self.error is not None:
            return f"Scores({', '.join([*parts, f'error={self.error!r}'])})"
        values = ((target, self.value(target.key)) for target in TARGETS)
        parts += [f"{target.key}={digits(target, value)}" for target, value in values if value is not None]
        return f"Scores({', '.join(parts + ([f'flags={self.flags}'] if self.flags else []))})"

    def _repr_html_(self) -> str:
        """Return a table for notebooks: a row per target, with intervals and flags."""
        if self.error is not None:
            return f"<p><b>{html.escape(self._name)}</b>: not scored: {html.escape(self.error)}</p>"
        rows = []
        for target in TARGETS:
            value, interval = self.value(target.key), self.intervals.get(target.key)
            if value is not None:
                ends = (
                    ""
                    if interval is None
                    else f"{digits(target, interval.low)} to {digits(target, interval.high)}"
                )
                rows.append((target.name, digits(target, value), ends, f"{target.low:g} to {target.high:g}"))
        flags = f"<p>Flags: {html.escape(', '.join(self.flags))}</p>" if self.flags else ""
        caption = f"<p><b>{html.escape(self._name)}</b></p>"
        return caption + _html_table(("score", "value", "90 % interval", "range"), rows) + flags


@dataclass(frozen=True, repr=False)
class Results(Sequence[Scores]):
    """Scores of several recordings in order; a sequence of `Scores`.

    >>> results = mtqnet.score("calls/")            # doctest: +SKIP
    >>> results.to_frame().sort_values("g_mos")     # doctest: +SKIP
    >>> results.sorted_by("g_mos")[:5]              # the five worst; doctest: +SKIP
    """

    rows: tuple[Scores, ...]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Scores]:
        return iter(self.rows)

    @overload
    def __getitem__(self, index: int) -> Scores: ...
    @overload
    def __getitem__(self, index: slice) -> Results: ...
    def __getitem__(self, index: int | slice) -> Scores | Results:
        return Results(self.rows[index]) if isinstance(index, slice) else self.rows[index]

    @property
    def scored(self) -> Results:
        """Recordings that have scores."""
        return Results(tuple(row for row in self.rows if row.error is None))

    @property
    def failed(self) -> Results:
        """Recordings that have an error."""
        return Results(tuple(row for row in self.rows if row.error is not None))

    def mean(self) -> dict[str, float]:
        """Return the mean of each score over the recordings that have it, by target key.

        The mean of `sdi_est` is geometric, because its scale is logarithmic.
        """
        means = {}
        for target in TARGETS:
            values = np.array([value for row in self.rows if (value := row.value(target.key)) is not None])
            if len(values):
                means[target.key] = float(10 ** np.log10(values).mean() if target.log else values.mean())
        return means

    def sorted_by(self, key: str) -> Results:
        """Sort from worst to best score.

        Recordings without this score come last, and recordings with equal scores keep their order.

        Args:
            key: Target key, or "file" or "duration_s" for ascending order of these.

        Raises:
            UsageError: An unknown key.
        """
        return Results(tuple(sorted(self.rows, key=sort_key(key))))

    def to_frame(self) -> Any:
        """Return a data frame with the columns of `mtqnet.COLUMNS`, a row per recording.

        Returns:
            A pandas DataFrame; a polars DataFrame if pandas is not installed.

        Raises:
            UsageError: Neither is installed.
        """
        columns = {name: [row.as_row()[name] for row in self.rows] for name in COLUMNS}
        try:
            import pandas as pd
        except ImportError:
            try:
                import polars as pl  # type: ignore[import-not-found]
            except ImportError:
                raise UsageError("to_frame() needs pandas or polars: pip install pandas") from None
            schema = {name: pl.Float64 if name in (*KEYS, *ENDS, "duration_s") else None for name in COLUMNS}
            return pl.DataFrame(columns, schema=schema, strict=False)
        numbers = {name: np.array(columns[name], dtype=np.float64) for name in (*KEYS, *ENDS, "duration_s")}
        return pd.DataFrame(columns | numbers | {"channel": pd.Series(columns["channel"], dtype="Int64")})

    def __repr__(self) -> str:
        means = "".join(
            f", mean {spoken(BY_KEY[key], value)}" for key, value in self.mean().items() if key == "g_mos"
        )
        return f"Results({len(self)} recording{'s' * (len(self) != 1)}, {len(self.failed)} not scored{means})"

    def _repr_html_(self) -> str:
        """Return a table for notebooks: a row per recording and the mean."""
        names = [target.name.split()[0] for target in TARGETS]
        rows = [
            (row._name, *_html_values(row.value), ", ".join(row.flags) if row.error is None else row.error)
            for row in self.rows[:SHOWN_ROWS]
        ]
        if len(self.scored) > 1:
            rows.append((f"mean of {len(self.scored)}", *_html_values(self.mean().get), ""))
        hidden = len(self) - SHOWN_ROWS
        note = f"<p>{hidden} further recordings are not shown: use to_frame()</p>" if hidden > 0 else ""
        return _html_table(("file", *names, "flags or reason"), rows) + note


def sort_key(key: str) -> Any:
    """Return a key function for `sorted` that orders scores from worst to best. Raises UsageError."""
    if key not in (*KEYS, "file", "duration_s"):
        raise UsageError(f"no sort key {key!r}: expected one of {', '.join((*KEYS, 'file', 'duration_s'))}")
    sign = -1 if key in KEYS and not BY_KEY[key].higher_is_better else 1

    def order(scores: Scores) -> tuple[bool, Any]:
        value = getattr(scores, key)
        return value is None, 0 if value is None else value if isinstance(value, str) else sign * value

    return order


def _html_values(value: Any) -> Iterable[str]:
    return ("" if value(target.key) is None else digits(target, value(target.key)) for target in TARGETS)


def _html_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{html.escape(heading)}</th>" for heading in headings)
    body = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
