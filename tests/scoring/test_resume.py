"""An interrupted table that is gone on with is the table of an unbroken run."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from mtqnet.errors import UsageError
from mtqnet.scoring import tables
from mtqnet.scoring.resume import Wanted, reopen
from mtqnet.scoring.scores import Scores, WindowScores
from mtqnet.scoring.tables import RECORDINGS, WINDOWS, Layout
from mtqnet.targets import KEYS

FORMATS = (".csv", ".jsonl", ".parquet")
LAYOUTS = (RECORDINGS, WINDOWS)
FILES = ("a.wav", 'b, "c"\n\ré.wav', "bad.wav", "d.wav", "e.wav")


def row(file: str) -> Scores:
    number = 1 + FILES.index(file) / 10 if file in FILES else 4.0
    values = (number, 2.123456, 3.0, 1.0, 0.5, 0.00012345)
    base = Scores(
        file=file, model="toy", model_sha256="ab", version="1", duration_s=20.0, flags=("short", "clipped")
    )
    if file == "bad.wav":
        return dataclasses.replace(base, error="too short, by far")
    spans = (WindowScores(0, 10, 0.5, values, KEYS), WindowScores(10, 20, 0.5, values, KEYS))
    return dataclasses.replace(base, **dict(zip(KEYS, values, strict=True)), windows=spans)  # type: ignore[arg-type]


def wanted(layout: Layout, files: tuple[str, ...] = FILES) -> Wanted:
    return Wanted(files, "ab", "1", layout)


def unbroken(path: Path, layout: Layout, files: tuple[str, ...] = FILES) -> bytes:
    with tables.create(path, layout) as table:
        for file in files:
            table.write(row(file))
    return path.read_bytes()


def interrupted(path: Path, layout: Layout, files: tuple[str, ...]) -> None:
    with pytest.raises(KeyboardInterrupt), tables.create(path, layout) as table:
        for file in files:
            table.write(row(file))
        raise KeyboardInterrupt


def resumed(path: Path, layout: Layout, files: tuple[str, ...] = FILES) -> list[str]:
    """Goes on to the end; the files that had to be scored."""
    reopened = reopen(path, wanted(layout, files))
    left = [file for file in files if file not in reopened.done]
    with reopened.table as table:
        for file in left:
            table.write(row(file))
    return left


@pytest.mark.parametrize("layout", LAYOUTS, ids=["recordings", "windows"])
@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("done", [0, 1, 2, 4, 5])
def test_an_interrupted_table_becomes_the_unbroken_one(
    tmp_path: Path, suffix: str, layout: Layout, done: int
) -> None:
    whole = unbroken(tmp_path / f"whole{suffix}", layout)
    path = tmp_path / f"t{suffix}"
    interrupted(path, layout, FILES[:done])
    left = resumed(path, layout)
    assert path.read_bytes() == whole
    again = {"bad.wav"} if layout is RECORDINGS else {"bad.wav", *FILES[max(0, done - 1) : done]}
    assert set(left) == set(FILES[done:]) | (again & set(FILES[:done]))
    assert sorted(tmp_path.iterdir()) == sorted([path, tmp_path / f"whole{suffix}"])


@pytest.mark.parametrize("layout", LAYOUTS, ids=["recordings", "windows"])
@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_wherever_a_write_was_cut_short(tmp_path: Path, suffix: str, layout: Layout) -> None:
    whole = unbroken(tmp_path / f"whole{suffix}", layout, FILES[:3])
    path = tmp_path / f"t{suffix}"
    for length in range(len(whole)):  # inside a quoted cell and inside a letter of two bytes, too
        path.write_bytes(whole[:length])
        resumed(path, layout, FILES[:3])
        assert path.read_bytes() == whole, length


def test_what_is_there_in_another_order_is_kept_and_put_in_order(tmp_path: Path) -> None:
    for suffix in FORMATS:
        whole = unbroken(tmp_path / f"whole{suffix}", RECORDINGS)
        path = tmp_path / f"t{suffix}"
        unbroken(path, RECORDINGS, ("e.wav", FILES[1]))
        assert resumed(path, RECORDINGS) == ["a.wav", "bad.wav", "d.wav"]
        assert path.read_bytes() == whole


def test_an_interrupted_resume_loses_nothing(tmp_path: Path) -> None:
    for suffix in FORMATS:
        whole = unbroken(tmp_path / f"whole{suffix}", RECORDINGS)
        path = tmp_path / f"t{suffix}"
        interrupted(path, RECORDINGS, FILES[3:4])
        with pytest.raises(KeyboardInterrupt), reopen(path, wanted(RECORDINGS)).table as table:
            table.write(row("a.wav"))
            raise KeyboardInterrupt
        assert resumed(path, RECORDINGS) == [FILES[1], "bad.wav", "e.wav"]
        assert path.read_bytes() == whole


@pytest.mark.parametrize("change", [{"model_sha256": "cd"}, {"version": "2"}])
def test_rows_of_another_model_or_version_are_scored_anew(tmp_path: Path, change: dict[str, str]) -> None:
    path = tmp_path / "t.csv"
    with tables.create(path) as table:
        table.write(dataclasses.replace(row("a.wav"), **change))  # type: ignore[arg-type]
        table.write(row("d.wav"))
    assert resumed(path, RECORDINGS, ("a.wav", "d.wav")) == ["a.wav"]
    assert path.read_bytes() == unbroken(tmp_path / "whole.csv", RECORDINGS, ("a.wav", "d.wav"))


def test_rows_of_other_recordings_stay(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    unbroken(path, RECORDINGS, ("other.wav", "d.wav"))
    assert resumed(path, RECORDINGS, ("a.wav", "d.wav")) == ["a.wav"]
    assert path.read_bytes() == unbroken(tmp_path / "whole.csv", RECORDINGS, ("other.wav", "a.wav", "d.wav"))


def test_a_complete_parquet_file_is_gone_on_with_too(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    unbroken(path, RECORDINGS, FILES[:2])
    assert resumed(path, RECORDINGS) == list(FILES[2:])
    assert pq.read_table(path).column("file").to_pylist() == list(FILES)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_a_file_that_is_no_such_table_is_refused_and_left_alone(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"t{suffix}"
    unbroken(path, WINDOWS)
    for content in (path.read_bytes(), b'{"name": "Anna"}\n[1]\n', b"a,b\n1,2\n3,4\n"):
        path.write_bytes(content)
        with pytest.raises(UsageError, match="name another output"):
            reopen(path, wanted(RECORDINGS))
        assert path.read_bytes() == content
