"""The card contains the figures of the records and result files, and no others."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mtqnet.errors import ModelError
from mtqnet.scoring import models
from mtqnet.scoring.intervals import Band, Intervals, as_json
from mtqnet.targets import KEYS
from research import model_card as card

FIGURES = [
    {"split": "test", "target": key, "clips": 800, "lcc": 0.9123, "srcc": 0.9012, "rmse": 0.3456} for key in KEYS
]
RECORD: dict[str, Any] = {
    "parameters": 533804, "seed": 1, "minutes": {"corpus": 20.0, "MTQ-Net": 30.5}, "labels": "3QUEST-style",
    "figures": FIGURES, "parity": {"s_mos": 2e-5},
    "config": {
        "encoder": {"name": "whisper-tiny.en", "layers": [1, 2]}, "network": {"front_ends": ["logmel", "encoder"]},
        "corpus": {"speech": ["speech"], "noise": ["noise"], "rooms": ["rooms"], "train": 14000},
    },
}  # fmt: skip
CALIBRATED = {
    "intervals": as_json(Intervals(0.9, dict.fromkeys(KEYS, Band((0.0,) * 28, -1.0, 1.0, 0.5)))),
    "coverage": [
        {"kind": "test", "target": "s_mos", "clips": 800, "share": 0.905, "width": 1.02},
        {"kind": "unseen: GTCRN", "target": "s_mos", "clips": 77, "share": 0.751, "width": 1.1},
        {"kind": "unseen: AAC", "target": "s_mos", "clips": 66, "share": 0.886, "width": 1.1},
    ],
    "failures": [
        {
            "split": "unseen",
            "clip": "u7",
            "steps": ["room", "GTCRN"],
            "target": "g_mos",
            "label": 1.2,
            "score": 3.9,
        }
    ],
    "kinds": ["Opus", "room"],
}
RATED = """set,target,clips,missing,lcc,srcc,lcc_cond,srcc_cond,rmse
p835_csp835_refconditions,s_mos,78,0,0.9131,0.8222,0.9753,0.9,0.531
mushra_neural_codec,g_mos,64,0,0.5555,0.4444,0.9,0.9,
"""
MOVED = """group,change,target,recordings,mean,mean_abs,worst
level,-45 dBov,s_mos,26,0.01,0.123,0.456
level,-45 dBov,n_mos,26,0.01,0.2,0.3
level,-45 dBov,g_mos,26,0.01,0.2,0.3
"""
PEERS = """arm,split,target,seed,clips,lcc,srcc,mse
distillmos,csp835,g_mos,all,78,0.8711,0.8,
dnsmos,csp835,s_mos,all,78,0.2888,0.2,
"""


@pytest.fixture
def write(make_model: Callable[..., Path], tmp_path: Path) -> Callable[..., str]:
    """The card of one model with these additions to its record, and these result files."""

    def made(record: dict[str, Any] | None = None, **files: str) -> str:
        for name, content in files.items():
            (tmp_path / f"{name.replace('__', '.')}.csv").write_text(content)
        return card.text([models.find(make_model(**{**RECORD, **(record or {})}))], tmp_path)

    return made


def test_a_bare_record_gives_a_card_without_what_nobody_measured(write: Callable[..., str]) -> None:
    text = write()
    assert "533,804" in text and "50 (corpus 20; MTQ-Net 30.5)" in text
    assert "| test | S-MOS | 800 | 0.912 / 0.901 / 0.346 |" in text
    for title in ("Agreement with listeners", "Intervals", "Invariance", "Known failures"):
        assert f"## {title}" not in text
    assert "`toy` has no intervals" in text
    assert "`toy`: codecs, neural noise suppressors and loss concealment were not in its corpus" in text


def test_every_file_becomes_a_section(write: Callable[..., str]) -> None:
    text = write(CALIBRATED, toy__rated=RATED, toy__invariance=MOVED, peers=PEERS)
    assert "| CSP835 | S-MOS | 0.913 / 0.822 / 0.975 / 0.53 | 0.289 |  |  |" in text
    assert "| neural codecs, MUSHRA | G-MOS | 0.555 / 0.444 / 0.900 |" in text
    assert "DNSMOS P.835: LCC" in text and "Distill-MOS: LCC" in text
    assert "| level | -45 dBov | 0.12 / 0.46 | 0.20 / 0.30 | 0.20 / 0.30 |" in text
    assert "over 26 recordings" in text
    assert "| `toy` | G-MOS | unseen u7 | room, GTCRN | 1.20 | 3.90 |" in text
    assert "through 2 kinds of degradation: Opus, room" in text
    assert "has no intervals" not in text


def test_agreement_with_predictors_after_suppression_is_quoted_as_that(write: Callable[..., str]) -> None:
    rows = (
        "system,target,predictor,conditions,lcc,lcc_middle,lcc_clip,slope\n"
        "labels,n_mos,dnsmos_bak,40,0.97,0.96,0.9,0.8\n"
        "toy,n_mos,dnsmos_bak,40,0.93,0.9,0.9,0.61\n"
    )
    text = write(CALIBRATED, witnesses=rows)
    assert "| N-MOS | DNSMOS BAK | 0.930 / 0.61 | 0.970 / 0.80 |" in text
    assert "40 conditions" in text
    assert "not listeners" in " ".join(text.split())
    assert "After noise suppression" not in write(CALIBRATED, witnesses="")


def test_kinds_that_are_poorly_covered_are_named_and_others_not(write: Callable[..., str]) -> None:
    text = write(CALIBRATED)
    assert "| `toy` | test | S-MOS | 90.5% | 1.02 |" in text
    assert "- `toy`, unseen: GTCRN, S-MOS: 75.1% of 77 clips" in text
    assert "AAC" not in text


def test_teachers_are_named(write: Callable[..., str]) -> None:
    config = {**RECORD["config"], "peers": {"heads": ["distillmos"]}}
    assert "comparisons with these are not independent:\nDistill-MOS." in write({"config": config})
    assert "distilled from `base`" in write({"teacher": {"name": "base", "sha256": "ab"}})


def test_two_models_stand_side_by_side(make_model: Callable[..., Path], tmp_path: Path) -> None:
    pair = [models.find(make_model(**RECORD, name=name)) for name in ("large", "little")]
    text = card.text(pair, tmp_path)
    assert "| test | S-MOS | 800 | 0.912 / 0.901 / 0.346 | 0.912 / 0.901 / 0.346 |" in text


def test_a_teacher_that_is_no_longer_shipped_is_reported(make_model: Callable[..., Path], tmp_path: Path) -> None:
    large = models.find(make_model(**RECORD, name="large"))
    for sha256, told in ((large.sha256, False), ("ab" * 32, True)):
        little = models.find(make_model(**RECORD, name="little", teacher={"name": "large", "sha256": sha256}))
        assert ("`little` was distilled from an earlier `large`" in card.text([large, little], tmp_path)) is told


def test_a_model_that_was_not_trained_here_is_refused(toy_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="train it again"):
        card.text([models.find(toy_model)], tmp_path)


def test_tables_have_as_many_cells_as_their_heads(write: Callable[..., str]) -> None:
    text = write(CALIBRATED, toy__rated=RATED, toy__invariance=MOVED, peers=PEERS)
    for block in text.split("\n\n"):
        lines = [line for line in block.splitlines() if line.startswith("|")]
        assert len({json.dumps(line.count("|")) for line in lines}) <= 1, lines[:1]
