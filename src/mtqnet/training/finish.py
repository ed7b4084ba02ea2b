"""The end of every training: ONNX, figures on held-out clips, intervals, and the record beside the weights.

RUN/model/NAME.onnx         what `--model` takes
RUN/model/NAME.json         its record: what it is, figures, intervals and their coverage, minutes by stage
RUN/model/NAME.safetensors  the weights, to train on
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtqnet.cli.bars import Stage
from mtqnet.scoring.intervals import as_json
from mtqnet.training import calibrate, evaluate, loop, mpl
from mtqnet.training import encoder as encoders
from mtqnet.training.clock import Clock
from mtqnet.training.config import Config
from mtqnet.training.dataset import Labels, labels_of
from mtqnet.training.export import Exported, export
from mtqnet.training.network import Network
from mtqnet.training.prepare import Place

Row = dict[str, Any]

CALIBRATION = "calibration"
"""Half of the validation clips"""
TESTS = ("test", "unseen", "unseen2")
EVALUATION = "evaluation"
"""Stage of a run, by name"""


@dataclass(frozen=True)
class Listener:
    """Whom a run tells how it goes."""

    stage: Stage
    epoch: mpl.Report


SILENT = Listener(lambda *_: None, lambda *_: None)
"""Of all processes but the first"""


def timed(listener: Listener, clock: Clock) -> Listener:
    """The same listener, with the time between its calls written down."""

    def epoch(network: str, result: loop.Epoch, total: int) -> None:
        clock.tick(network)
        listener.epoch(network, result, total)

    return Listener(clock.timed(listener.stage), epoch)


@dataclass(frozen=True)
class Made:
    """A trained network and what its record should say of it."""

    config: Config
    network: Network
    encoder: encoders.SpeechEncoder | None
    about: Mapping[str, object]


@dataclass(frozen=True)
class Run:
    """What a run left."""

    exported: Exported
    figures: list[evaluate.Figure]
    minutes: dict[str, float]
    """By stage, over all calls that made it: a resumed run adds up."""


def judging_and_calibrating(rows: list[Row]) -> list[Row]:
    """Rows with the split `validation` parted: every second clip of it calibrates and judges no epoch."""
    places = itertools.count()
    return [
        {**row, "split": CALIBRATION} if row["split"] == "validation" and next(places) % 2 else row for row in rows
    ]


def finish(made: Made, rows: list[Row], place: Place, listener: Listener, clock: Clock) -> Run:
    """Export, evaluate and calibrate through the exported file, write all that beside it."""
    folder, config = place.out / "model", made.config
    about = {"licence": _licence(config), "config": asdict(config), **made.about}
    exported = export(made.network, made.encoder, config.name, folder, about, config.int8)
    held_out = [row for row in rows if row["split"] != "train"]
    clock.begin(EVALUATION)
    said = evaluate.scores(exported.model, held_out, place.corpus, lambda a, b: listener.stage(EVALUATION, a, b))
    figures = evaluate.figures(held_out, said)
    minutes = clock.minutes()
    record = json.loads(exported.record.read_text())
    record |= {"figures": [asdict(figure) for figure in figures], "minutes": minutes}
    record |= _tested(held_out, said) | {
        "kinds": sorted({step for row in rows if row["split"] == "train" for step in row["steps"]})
    }
    exported.record.write_text(json.dumps(record, indent=1) + "\n")
    return Run(exported, figures, minutes)


def _tested(rows: list[Row], said: Labels) -> dict[str, object]:
    """Of the record: the clips of the tests that were missed furthest; intervals, if there are clips enough to
    calibrate them on, and what they cover of the tests."""
    labels = labels_of(rows, list(said))
    tests = _places(rows, TESTS)
    tested, heard = [rows[place] for place in tests], calibrate.picked(tests, said)
    failures: dict[str, object] = {"failures": [asdict(failure) for failure in evaluate.failures(tested, heard)]}
    calibrating = _places(rows, (CALIBRATION,))
    if len(calibrating) < calibrate.LEAST:
        return failures
    made = calibrate.fit(calibrate.picked(calibrating, said), calibrate.picked(calibrating, labels), list(said))
    coverage = calibrate.by_kind(made, tested, heard, calibrate.picked(tests, labels))
    return {**failures, "intervals": as_json(made), "coverage": [asdict(row) for row in coverage]}


def _places(rows: list[Row], splits: tuple[str, ...]) -> NDArray[np.int64]:
    return np.flatnonzero([row["split"] in splits for row in rows])


def _licence(config: Config) -> str:
    if "encoder" not in config.network.front_ends:
        return "MIT"
    if config.encoder.name == encoders.WHISPER:
        return "MIT; contains layers of OpenAI's Whisper tiny.en (MIT), see NOTICE"
    return f"contains layers of {config.encoder.name}, under the licence of that model"
