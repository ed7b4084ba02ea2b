"""Three formats, one content; and what is on disk when the work is cut short."""

from __future__ import annotations

import csv
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from mtqnet.errors import MissingExtraError, UsageError
from mtqnet.scoring import tables
from mtqnet.scoring.scores import COLUMNS, Scores, WindowScores
from mtqnet.scoring.tables import NUMBERS, create
from mtqnet.targets import KEYS

FORMATS = (".csv", ".jsonl", ".parquet")
GOOD = Scores(
    3.123456, 2.0, 2.5, 1.75, 0.98765432, 0.000123456, file="a, \"b\"\n\ré.wav", duration_s=3.00049,
    model="toy", model_sha256="ab", version="1", flags=("short", "clipped"),
)  # fmt: skip
BAD = Scores(file="b.wav", model="toy", model_sha256="ab", version="1", error="no such file: check the path")


def read(path: Path) -> list[dict[str, Any]]:
    """Rows of a table; an empty cell of a CSV file is None, or "" for flags."""
    if path.suffix == ".parquet":
        rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
        return rows
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in text.split("\n") if line]
    with path.open(encoding="utf-8", newline="") as stream:
        return [{name: typed(name, cell) for name, cell in row.items()} for row in csv.DictReader(stream)]


def typed(name: str, cell: str) -> str | float | None:
    if cell == "":
        return "" if name == "flags" else None
    return float(cell) if name in NUMBERS else cell


def written(path: Path, rows: list[Scores]) -> Path:
    with create(path) as table:
        for row in rows:
            table.write(row)
    return path


def test_all_formats_contain_the_same(tmp_path: Path) -> None:
    held = [read(written(tmp_path / f"t{suffix}", [GOOD, BAD])) for suffix in FORMATS]
    assert held[0] == held[1] == held[2]
    assert tuple(held[0][0]) == COLUMNS
    assert held[0][1]["error"] == BAD.error
    assert held[0][1]["s_mos"] is None


@pytest.mark.parametrize("suffix", FORMATS)
def test_numbers_are_rounded_as_promised(tmp_path: Path, suffix: str) -> None:
    (row,) = read(written(tmp_path / f"t{suffix}", [GOOD]))
    assert (row["s_mos"], row["stoi_est"]) == (3.1235, 0.9877)
    assert row["sdi_est"] == 0.0001235
    assert row["duration_s"] == 3.0
    assert row["file"] == GOOD.file
    assert row["flags"] == "short clipped"


@pytest.mark.parametrize("suffix", FORMATS)
def test_two_runs_write_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    first, second = (written(tmp_path / f"{run}{suffix}", [GOOD, BAD]).read_bytes() for run in "ab")
    assert first == second


def test_parquet_keeps_its_types_without_any_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = pq.read_schema(written(tmp_path / "full.parquet", [GOOD]))
    assert pq.read_schema(written(tmp_path / "errors.parquet", [BAD])) == full
    assert pq.read_schema(written(tmp_path / "none.parquet", [])) == full
    monkeypatch.setattr(tables, "ROW_GROUP", 2)
    many = written(tmp_path / "many.parquet", [BAD, BAD, GOOD, GOOD, BAD])
    assert pq.ParquetFile(many).num_row_groups == 3
    assert pq.read_table(many).num_rows == 5


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_rows_are_on_disk_as_soon_as_they_are_written(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"t{suffix}"
    with create(path) as table:
        table.write(GOOD)
        assert len(read(path)) == 1


def test_parquet_appears_complete_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    with pytest.raises(RuntimeError, match="power cut"), create(path) as table:
        table.write(GOOD)
        raise RuntimeError("power cut")
    assert list(tmp_path.iterdir()) == [tables.work_file(path)]  # what was done is kept, for --resume
    with create(path) as table:
        table.write(GOOD)
        assert not path.exists()
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["t.xlsx", "t", "call.wav"])
def test_other_suffixes_are_refused_with_the_three(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"\.csv, \.jsonl, \.parquet"):
        create(tmp_path / name)
    assert not (tmp_path / name).exists()


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        create(tmp_path / "gone" / "t.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(UsageError, match="is a folder"):
        create(tmp_path / "folder.csv")


def test_parquet_without_pyarrow_states_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"mtqnet\[parquet\]"):
        create(tmp_path / "t.parquet")


SPLIT = dataclasses.replace(
    GOOD, duration_s=20.0,
    windows=(
        WindowScores(0.0, 9.87654, 0.5, (3.0, 2.0, 2.5, 1.75, 0.98765432, 0.000123456), KEYS),
        WindowScores(9.87654, 20.0, 0.5, (3.25,), ("s_mos",)),
    ),
)  # fmt: skip


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_table_of_windows_has_a_row_for_each(tmp_path: Path, suffix: str) -> None:
    with create(tmp_path / f"t{suffix}", tables.WINDOWS) as table:
        table.write(SPLIT)
        table.write(BAD)
    first, second, bad = read(tmp_path / f"t{suffix}")
    assert tuple(first) == tables.WINDOW_COLUMNS
    assert (first["start_s"], first["end_s"], first["sdi_est"]) == (0.0, 9.877, 0.0001235)
    assert (second["start_s"], second["s_mos"], second["n_mos"]) == (9.877, 3.25, None)
    assert first["duration_s"] == second["duration_s"] == 20.0
    assert first["file"] == second["file"] == GOOD.file
    assert (bad["start_s"], bad["s_mos"], bad["error"]) == (None, None, BAD.error)


def test_an_output_that_is_an_input_is_refused(tmp_path: Path) -> None:
    recording = tmp_path / "a.csv"
    recording.write_bytes(b"RIFF")
    (tmp_path / "link.csv").symlink_to(recording)
    (tmp_path / "hard.csv").hardlink_to(recording)
    for output in ("a.csv", "link.csv", "hard.csv", "../" + tmp_path.name + "/a.csv"):
        with pytest.raises(UsageError, match="overwritten"):
            tables.check_output(tmp_path / output, inputs=[tmp_path / "gone.wav", recording])
    tables.check_output(tmp_path / "new.csv", inputs=[recording, Path("a\0b")])


@pytest.mark.skipif(sys.platform == "win32", reason="locks of Unix")
def test_two_runs_cannot_write_one_table(tmp_path: Path) -> None:
    output = tmp_path / "t.csv"
    stale = tmp_path / ".t.csv.123.tmp"
    stale.touch()
    other = tmp_path / ".u.csv.123.tmp"
    other.touch()
    with tables.lock(output):
        assert not stale.exists() and other.exists()
        with pytest.raises(UsageError, match="another run"), tables.lock(output):
            pass
        with tables.lock(tmp_path / "u.csv"):
            pass
    assert list(tmp_path.iterdir()) == []
    (tmp_path / ".t.csv.lock").touch()  # left by a run that was killed
    with tables.lock(output):
        pass
    assert list(tmp_path.iterdir()) == []
