"""Requests and answers; the OpenAPI document is generated from these classes."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

from mtqnet.audio.flags import BY_KEY, Level
from mtqnet.scoring import tables
from mtqnet.scoring.scores import Scores, WindowScores
from mtqnet.targets import KEYS, TARGETS

MAX_ID = 2**63 - 1
"""Largest id of a row in a database"""
Label = Annotated[str, Field(max_length=100, pattern=r"^[^\x00-\x1f\x7f]*$")]
"""Text without control characters"""


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Interval(Model):
    low: float
    high: float


class Stretch(Model):
    """The worst stretch by G-MOS."""

    start_s: float
    end_s: float
    g_mos: float


def _scores(base: type[BaseModel], name: str) -> type[BaseModel]:
    """`base` with a field for each of the six scores, in front."""
    fields: Any = {
        target.key: (
            float | None,
            Field(
                None, ge=target.low, le=target.high,
                description=f"{target.name}, {target.low:g} to {target.high:g}: {target.says}. "
                "Null if the model does not predict it.",
            ),
        )
        for target in TARGETS
    }  # fmt: skip
    return create_model(name, __base__=base, __doc__=base.__doc__, **fields)


class _Scored(Model):
    intervals: dict[str, Interval] = Field(
        default_factory=dict,
        description="90 % prediction interval of each score; empty if the model has no intervals.",
    )


class _Window(_Scored):
    """One window of a recording."""

    start_s: float
    end_s: float
    weight: float = Field(description="Weight of the window in the overall scores, 0 to 1.")


class Track(Model):
    """Scores over time."""

    times_s: list[float]
    values: dict[str, list[float]] = Field(description="By score, one for each time.")


Window = _scores(_Window, "Window")


class _ScoreAnswer(_Scored):
    """The scores of a recording."""

    id: int | None = Field(description="Its row in the history; null where there is no history.")
    file: str
    channel: int | None = Field(description="Number of the channel, from 1; null for the mean of all channels.")
    duration_s: float | None = Field(description="Null if the recording was not decoded; see `error`.")
    model: str
    model_sha256: str
    version: str = Field(description="Of the package mtqnet.")
    flags: list[str]
    level: Level = Field(description="caution: interpret the scores with care, see the flags.")
    cause: str = Field(
        description="Causes of low quality with positions and a suggestion; empty if none was found."
    )
    causes: dict[str, float] = Field(
        description="Probability of each kind of degradation; empty for a model without causes."
    )
    windows: list[Window] = Field(description="Windows of up to 10 s; empty unless requested.")  # type: ignore[valid-type]
    track: Track | None = Field(description="Null unless requested.")
    worst: Stretch | None = Field(description="Null if no segment is clearly worse, or without track.")
    error: str | None = Field(description="Why a channel was not scored; null for a scored one.")


ScoreAnswer = _scores(_ScoreAnswer, "ScoreAnswer")


class ChannelsAnswer(Model):
    """The scores of every channel of a recording (`channels=each`)."""

    file: str
    rows: list[ScoreAnswer] = Field(description="One per channel, in order.")  # type: ignore[valid-type]


class _ComparedFile(_Scored):
    """A recording of a comparison: scores, or the reason why it was not scored."""

    file: str
    duration_s: float | None
    flags: list[str]
    error: str | None


ComparedFile = _scores(_ComparedFile, "ComparedFile")


class Comparison(Model):
    """A against B on one score. SDI is a ratio: its numbers are log10."""

    target: str
    scale: str
    a_mean: float | None
    b_mean: float | None
    difference: float | None = Field(description="B less A.")
    low: float | None = Field(description="95 % interval of the difference; null for too few recordings.")
    high: float | None
    effect: float | None
    probability_second_better: float | None = Field(
        description="Calibrated probability that B is better; null where none is known."
    )
    items: int
    better: Literal["A", "B"] | None = Field(description="Null if no difference was detected.")


class CompareAnswer(Model):
    """Comparison of two recordings or two sets of recordings."""

    model: str
    model_sha256: str
    paired: bool
    a: list[ComparedFile]  # type: ignore[valid-type]
    b: list[ComparedFile]  # type: ignore[valid-type]
    comparisons: list[Comparison]
    verdict: list[str] = Field(description="Sentences: which set is better and by how much.")


class TargetAnswer(Model):
    """What a score means."""

    key: str
    name: str
    low: float
    high: float
    higher_is_better: bool
    log: bool = Field(description="Whether steps on it are ratios.")
    unit: str
    standard: str
    says: str


class FlagAnswer(Model):
    """What a flag means."""

    key: str
    level: Level
    summary: str
    advice: str


class ModelAnswer(Model):
    name: str
    sha256: str
    licence: str
    targets: list[str]
    track: bool = Field(description="Whether its frame scores follow each other in time.")
    coverage: float | None = Field(
        description="Measured coverage of the intervals, 0 to 1; null without intervals."
    )


class LimitsAnswer(Model):
    """What this server takes."""

    max_body_mb: float
    max_duration_s: float
    max_files: int
    keep_audio: bool
    history: bool
    browser: bool = Field(description="Whether the page can also score in the browser.")


class ModelsAnswer(Model):
    """The models, the default one first, with descriptions of scores and flags."""

    models: list[ModelAnswer]
    targets: list[TargetAnswer]
    flags: list[FlagAnswer]
    limits: LimitsAnswer


class _HistoryRow(Model):
    """What was scored, and when."""

    id: int
    time: datetime
    kind: Literal["file", "stream"]
    file: str
    source: str
    level: Level
    flags: list[str]
    error: str | None
    duration_s: float | None
    model: str
    model_sha256: str
    version: str
    has_audio: bool


HistoryRow = _scores(_HistoryRow, "HistoryRow")


class HistoryAnswer(Model):
    rows: list[HistoryRow]  # type: ignore[valid-type]
    next: int | None = Field(description="Value of `before` for the next page; null on the last page.")


class _HistoryQuery(Model):
    since: datetime | None = Field(None, description="Not before; without a time zone it is UTC.")
    until: datetime | None = Field(None, description="Before.")
    kind: Literal["file", "stream"] | None = None
    source: Label | None = None
    model: Label | None = None
    level: Level | None = None
    flag: Literal[tuple(BY_KEY)] | None = None  # type: ignore[valid-type]
    file: Annotated[str, Field(max_length=255, pattern=r"^[^\x00]*$")] | None = Field(
        None, description="A part of the name."
    )
    before: int | None = Field(None, ge=0, le=MAX_ID, description="Id: `next` of the page before.")
    limit: int = Field(100, ge=1, le=500)


HistoryQuery = create_model(
    "HistoryQuery",
    __base__=_HistoryQuery,
    **{f"{end}_{key}": (float | None, None) for key in KEYS for end in ("min", "max")},  # type: ignore[call-overload]
)


class Health(Model):
    status: Literal["ok"]
    version: str


class Ready(Model):
    status: Literal["ready"]
    jobs: int
    streams: int


class ProblemAnswer(BaseModel):
    """RFC 9457. Further members depend on the kind."""

    model_config = ConfigDict(extra="allow")
    type: str = Field(description="urn:mtqnet:problem:KIND")
    title: str
    status: int
    detail: str


def scored_fields(row: Scores | WindowScores) -> dict[str, Any]:
    """Scores and intervals, rounded as in every table of this package."""
    intervals = {
        target.key: {
            "low": tables.rounded(target, row.intervals[target.key].low),
            "high": tables.rounded(target, row.intervals[target.key].high),
        }
        for target in TARGETS
        if target.key in row.intervals
    }
    return {target.key: tables.rounded(target, row.value(target.key)) for target in TARGETS} | {
        "intervals": intervals
    }
