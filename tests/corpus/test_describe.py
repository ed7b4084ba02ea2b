"""Counts of a corpus that are known beforehand, and that holes are seen."""

from __future__ import annotations

import json
import re
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from mtqnet.corpus.describe import HOLE_SHARE, describe, tables
from mtqnet.errors import CorpusError, UsageError
from mtqnet.targets import QUEST, TARGETS
from research.corpus_picture import draw

Row = dict[str, Any]
CLIPS = 200
PNG, LEAST_PNG_BYTES = b"\x89PNG", 50_000


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    """S even from 1 to 5, N between 1 and 4 (a hole above), G against S: 150 clips of train, 50 of test."""
    return [clip(number) for number in range(CLIPS)]


def clip(number: int) -> Row:
    s = 1 + 4 * (number + 0.5) / CLIPS
    n = 1 + 3 * ((37 * number) % CLIPS + 0.5) / CLIPS
    steps: list[Row] = [{"step": "Playback", "level_dbov": -20.0 - number % 5, "seed": 10**6 + number}]
    if number % 4 == 0:
        steps.insert(0, {"step": "Opus", "kbps": 6 + number % 8, "application": "voip", "whole": True})
    if number < 10:
        steps.insert(0, {"step": "Dropouts", "lengths_ms": [10.0, 30.0], "hard": False})
    return {
        "split": "test" if number >= 150 else "train",
        "speaker": str(number % 7),
        "seconds": 3.6,
        "steps": [step["step"] for step in steps],
        "s_mos": s,
        "n_mos": n,
        "g_mos": 6 - s,
        "pesq": 1 + 3.6 * number / CLIPS,
        "stoi": 1 - 0.5 * number / CLIPS,
        "sdi": 10 ** (-3 + 3 * number / CLIPS),
        "recipe": json.dumps({"speech": f"s{number % 4}.flac", "start": 0, "samples": 16_000, "steps": steps}),
    }


def shown(rows: list[Row]) -> str:
    console = Console(width=100, file=StringIO(), color_system="standard", force_terminal=True)
    for table in tables(describe(rows)):
        console.print(table)
    stream = console.file
    assert isinstance(stream, StringIO)
    return stream.getvalue()


def test_clips_hours_and_speakers_of_each_split(rows: list[Row]) -> None:
    parts = {part.name: part for part in describe(rows).parts}
    assert list(parts) == ["train", "test", "all"]
    assert [part.clips for part in parts.values()] == [150, 50, CLIPS]
    assert parts["all"].hours == pytest.approx(CLIPS * 3.6 / 3600)
    assert {part.speakers for part in parts.values()} == {7}


def test_intervals_contain_every_clip_once(rows: list[Row]) -> None:
    spread = describe(rows).spread
    assert set(spread) == {target.label for target in TARGETS}
    for intervals in spread.values():
        assert sum(interval.clips for interval in intervals) == CLIPS
        assert sum(interval.share for interval in intervals) == pytest.approx(1.0)
        assert all(a.high == b.low for a, b in pairwise(intervals))
    assert [interval.share for interval in spread["s_mos"]] == pytest.approx([0.25] * 4)


def test_ends_of_every_range_are_inside(rows: list[Row]) -> None:
    ends = [
        {**row, **{t.label: end for t, end in zip(TARGETS, ends, strict=True)}}
        for row, ends in zip(rows, [[t.low for t in TARGETS], [t.high for t in TARGETS]], strict=False)
    ]
    for intervals in describe(ends).spread.values():
        assert (intervals[0].clips, intervals[-1].clips) == (1, 1)


def holes_in(rows: list[Row]) -> list[tuple[str, float]]:
    return [(key, one.low) for key, intervals in describe(rows).spread.items() for one in intervals if one.hole]


def test_share_below_the_limit_is_a_hole_and_at_it_is_none(rows: list[Row]) -> None:
    assert holes_in(rows) == [("n_mos", 4.0)]
    few = round(HOLE_SHARE * CLIPS)
    for above, holes in ((few - 1, 1), (few, 0)):
        changed = [{**row, "n_mos": 4.5} if number < above else row for number, row in enumerate(rows)]
        assert len(holes_in(changed)) == holes
        assert describe(changed).spread["n_mos"][-1].clips == above


def test_steps_are_counted_with_their_mean_labels(rows: list[Row]) -> None:
    steps = {step.name: step for step in describe(rows).steps}
    assert [(step.name, step.clips) for step in steps.values()] == [
        ("Playback", CLIPS), ("Opus", CLIPS // 4), ("Dropouts", 10),
    ]  # fmt: skip
    assert steps["Opus"].share == pytest.approx(0.25)
    first = [[row[target.label] for target in QUEST] for row in rows[:10]]
    assert steps["Dropouts"].means == pytest.approx(np.mean(first, axis=0))


def test_step_that_stands_twice_in_a_clip_is_one_clip(rows: list[Row]) -> None:
    twice = {
        **json.loads(rows[0]["recipe"]),
        "steps": [{"step": "Clipping", "drive_db": 3.0}, {"step": "Clipping", "drive_db": 9.0}],
    }
    found = describe([{**rows[0], "recipe": json.dumps(twice)}, rows[1]])
    assert {step.name: step for step in found.steps}["Clipping"].clips == 1


def test_correlation_is_pearson_s_of_the_labels_with_the_logarithm_of_sdi(rows: list[Row]) -> None:
    """S, PESQ and log SDI rise on a line with the clip's number here, STOI falls on one."""
    found = np.array(describe(rows).correlation)
    np.testing.assert_allclose(found[0, [0, 3, 4, 5]], [1, 1, -1, 1], atol=1e-9)
    labels = np.array([[row["s_mos"], row["n_mos"], row["g_mos"]] for row in rows]).T
    np.testing.assert_allclose(found[:3, :3], np.corrcoef(labels), atol=1e-9)


def test_constant_label_has_no_correlation(rows: list[Row]) -> None:
    found = np.array(describe([{**row, "stoi": 0.9} for row in rows]).correlation)
    assert np.isnan(found[4]).all()
    assert np.isfinite(np.delete(np.delete(found, 4, 0), 4, 1)).all()
    assert "-" in shown([{**row, "stoi": 0.9} for row in rows])


def test_terminal_shows_all_in_100_columns_and_holes_in_red(rows: list[Row]) -> None:
    text = shown(rows)
    plain = re.sub(r"\x1b\[[\d;]*m", "", text)
    assert max(map(len, plain.splitlines())) <= 100
    assert "…" not in plain, "something was cut off"
    for word in ("S-MOS", "log10 SDI", "train", "test", "Opus", "hole"):
        assert word in plain
    red = re.findall(r"\x1b\[1;31m([^\x1b]*)", text)
    assert any("4 to 5" in piece for piece in red) and any("hole" in piece for piece in red)


def test_no_hole_is_reported(rows: list[Row]) -> None:
    filled = [{**row, "n_mos": row["s_mos"], "g_mos": row["s_mos"]} for row in rows]
    assert holes_in(filled) == []
    assert "hole" not in shown(filled)


@pytest.mark.parametrize("count", [1, 2])
def test_a_clip_or_two_can_be_described_and_drawn(rows: list[Row], count: int, tmp_path: Path) -> None:
    assert describe(rows[:count]).parts[-1].clips == count
    assert "100.0%" in shown(rows[:count])
    draw(rows[:count], tmp_path / "few.png")
    assert (tmp_path / "few.png").read_bytes().startswith(PNG)


def test_no_clips_and_other_tables_are_refused_in_words(rows: list[Row], tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no clips"):
        describe([])
    with pytest.raises(CorpusError, match="no clips"):
        draw([], tmp_path / "none.png")
    with pytest.raises(CorpusError, match="no column recipe"):
        describe([{key: value for key, value in rows[0].items() if key != "recipe"}])


def test_picture_is_drawn_and_the_same_twice(rows: list[Row], tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("one.png", "two.png")]
    for path in paths:
        draw(rows, path)
    one, two = (path.read_bytes() for path in paths)
    assert one.startswith(PNG) and len(one) > LEAST_PNG_BYTES
    assert one == two


def test_svg_is_drawn_whole(rows: list[Row], tmp_path: Path) -> None:
    draw(rows, tmp_path / "corpus.svg")
    text = (tmp_path / "corpus.svg").read_text()
    assert "</svg>" in text and "<dc:date>" not in text
    for words in ("S-MOS", "Correlation of labels", "Opus", "hole"):
        assert words in text


def test_other_kind_of_picture_is_refused(rows: list[Row], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.png or \.svg"):
        draw(rows, tmp_path / "corpus.bmp")
    assert not list(tmp_path.iterdir())
