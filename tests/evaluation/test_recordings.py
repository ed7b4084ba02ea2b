"""Tables of scores that were written before, in all formats that `mtqnet score` writes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mtqnet.errors import UsageError
from mtqnet.evaluation import recordings
from mtqnet.scoring import tables

Write = Callable[[Path, Any], Path]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_what_score_wrote_is_read_back(
    run: Callable[..., Any],
    toy_model: Path,
    good_file: Path,
    bad_files: dict[str, Path],
    tmp_path: Path,
    suffix: str,
) -> None:
    path = tmp_path / f"scores{suffix}"
    run("score", good_file, bad_files["silent"], "-m", toy_model, "-o", path)
    found = recordings.read(path)
    (good,), ((silent, reason),) = found.scored, found.unscored
    assert good.file == str(good_file)
    assert good.scores.g_mos is not None
    assert 1 <= good.scores.g_mos <= 5
    assert good.scores.model == "toy"
    assert good.scores.duration_s == pytest.approx(3.0)
    assert (silent, "silent: its loudest" in reason) == (str(bad_files["silent"]), True)
    assert len(found.keys) == 6


def test_other_columns_and_missing_scores_are_kept(tmp_path: Path, write: Write) -> None:
    rows = [{"file": "a/1.wav", "g_mos": 3.5, "room": "hall"}, {"file": "a/2.wav", "g_mos": "", "room": "car"}]
    found = recordings.read(write(tmp_path / "scores.csv", rows))
    assert found.keys == ("g_mos",)
    assert found.rows[0].cells == {"room": "hall"}
    assert found.unscored == (("a/2.wav", "no score in the table"),)
    assert found.short(found.rows[0]) == "1.wav"


def test_channels_with_rows_of_their_own_are_recordings(tmp_path: Path, write: Write) -> None:
    rows = [{"file": "call.wav", "channel": n, "g_mos": 3.0 + n / 10} for n in (1, 2)]
    found = recordings.read(write(tmp_path / "scores.csv", [*rows, {"file": "b.wav", "channel": 2, "g_mos": 4.0}]))
    assert [row.file for row in found.rows] == ["call.wav (channel 1)", "call.wav (channel 2)", "b.wav"]
    assert [row.scores.channel for row in found.rows] == [1, 2, 2]
    assert [row.scores.file for row in found.rows] == ["call.wav", "call.wav", "b.wav"]
    with pytest.raises(UsageError, match="has other scores in row 1"):
        recordings.read(write(tmp_path / "double.csv", [*rows[:1], {**rows[0], "g_mos": 2.0}]))


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.csv", "name,mos\na.wav,3\n", "needs the columns file and one or more of s_mos"),
        ("a.csv", "file,g_mos\na.wav,good\n", "row 1 .line 2., column 'g_mos': 'good' is not a finite number"),
        ("a.jsonl", "{not json\n", "line 1: damaged"),
        ("a.csv", "", "is empty"),
    ],
)
def test_what_is_no_table_of_scores_is_reported(tmp_path: Path, name: str, content: str, says: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UsageError, match=says):
        recordings.read(tmp_path / name)


def test_names_are_sorted_as_people_do() -> None:
    names = ["c10", "c2", "", "x²", "10", "9 kbps", "c"]
    assert sorted(names, key=recordings.natural) == ["", "c", "c2", "c10", "x²", "9 kbps", "10"]


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999", "-5", "999", "0.99", "abc", "\uff11", "0x10"])
def test_scores_outside_their_range_are_refused_with_their_row(tmp_path: Path, value: str, write: Write) -> None:
    rows = [{"file": "a.wav", "g_mos": 3}, {"file": "b.wav", "g_mos": value}]
    with pytest.raises(UsageError, match=r"row 2 \(line 3\), column 'g_mos'"):
        recordings.read(write(tmp_path / "scores.csv", rows))


@pytest.mark.parametrize("column", ["g_mos_low", "duration_s"])
def test_other_numbers_are_checked_too(tmp_path: Path, column: str, write: Write) -> None:
    with pytest.raises(UsageError, match=column):
        recordings.read(write(tmp_path / "scores.csv", [{"file": "a.wav", "g_mos": 3, column: "-inf"}]))


def test_repeated_rows_are_counted_once_and_contradicting_rows_are_refused(tmp_path: Path, write: Write) -> None:
    row = {"file": "a.wav", "g_mos": 3}
    found = recordings.read(write(tmp_path / "scores.csv", [row, row, {"file": "b.wav", "g_mos": 4}]))
    assert [one.file for one in found.rows] == ["a.wav", "b.wav"]
    assert found.notes[0].endswith("1 duplicated row counted once, first: row 2 (line 3)")
    with pytest.raises(UsageError, match=r"row 2 \(line 3\), column 'file': './a.wav' has other scores in row 1"):
        recordings.read(write(tmp_path / "scores.csv", [row, {"file": "./a.wav", "g_mos": 4}]))


def test_a_row_without_a_name_is_refused(tmp_path: Path, write: Write) -> None:
    with pytest.raises(UsageError, match=r"row 1 \(line 2\), column 'file': empty"):
        recordings.read(write(tmp_path / "scores.csv", [{"file": " ", "g_mos": 3}]))


@pytest.mark.parametrize("name", ["call.wav", "link.xml", "pipe.xml"])
def test_an_output_is_neither_a_recording_nor_a_pipe(tmp_path: Path, name: str) -> None:
    """A recording in a folder that is checked must not be replaced; opening a pipe would wait for its reader."""
    (tmp_path / "call.wav").write_bytes(b"RIFF")
    (tmp_path / "link.xml").symlink_to("call.wav")
    os.mkfifo(tmp_path / "pipe.xml")
    with pytest.raises(UsageError):
        tables.check_output(tmp_path / name, ())
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(UsageError, match="pipe"):
        tables.create(tmp_path / "pipe.csv")
