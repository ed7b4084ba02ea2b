"""An interrupted table that is gone on with is the table of an unbroken run."""

from __future__ import annotations

import csv
import dataclasses
import os
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mtqnet.audio.reading import Channels
from mtqnet.errors import UsageError
from mtqnet.scoring import tables
from mtqnet.scoring.batch import path_to_text
from mtqnet.scoring.resume import SourceLog, Wanted, reopen, state
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
    return Wanted([Path(file) for file in files], "ab", "1", layout)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative names are those of the test's folder."""
    monkeypatch.chdir(tmp_path)


def log_of(path: Path) -> SourceLog:
    log = SourceLog(path, empty=False)
    log.close()
    return log


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
    opened, done = reopen(path, wanted(layout, files), log_of(path))
    left = [file for file in files if Path(file) not in done]
    with opened as table:
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
    names = {path.name, f"whole{suffix}", f".{path.name}.sources.jsonl"}
    assert {found.name for found in tmp_path.iterdir()} == names


@pytest.mark.parametrize("layout", LAYOUTS, ids=["recordings", "windows"])
@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_wherever_a_write_was_cut_short(
    tmp_path: Path, suffix: str, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = unbroken(tmp_path / f"whole{suffix}", layout, FILES[:3])
    path = tmp_path / f"t{suffix}"
    log_of(path)
    monkeypatch.setattr(SourceLog, "__init__", lambda *_, **__: None)
    monkeypatch.setattr(SourceLog, "get", lambda *_: None)
    monkeypatch.setattr(SourceLog, "close", lambda _: None)
    for length in range(0, len(whole), 1 if suffix == ".csv" else 3):  # also inside a quoted cell or a character
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
        with pytest.raises(KeyboardInterrupt), reopen(path, wanted(RECORDINGS), log_of(path))[0] as table:
            table.write(row("a.wav"))
            raise KeyboardInterrupt
        assert resumed(path, RECORDINGS) == [FILES[1], "bad.wav", "e.wav"]
        assert path.read_bytes() == whole


@pytest.mark.parametrize("change", [{"model_sha256": "cd"}, {"version": "2"}])
def test_rows_of_another_model_or_version_are_scored_again(tmp_path: Path, change: dict[str, str]) -> None:
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


def test_a_complete_parquet_file_is_completed_too(tmp_path: Path) -> None:
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
            reopen(path, wanted(RECORDINGS), log_of(path))
        assert path.read_bytes() == content


def completed(path: Path, recordings: tuple[Path, ...]) -> list[str]:
    """Complete a table as the command does; return the recordings that were scored."""
    log = SourceLog(path, empty=False)
    opened, done = reopen(path, Wanted(recordings, "ab", "1", RECORDINGS), log)
    left = [recording for recording in recordings if recording not in done]
    with opened as table:
        for recording in left:
            log.add(recording, state(recording))
            table.write(row(str(recording)))
    log.close()
    return [recording.name for recording in left]


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_recording_that_was_replaced_is_scored_again(tmp_path: Path, suffix: str) -> None:
    table, recordings = tmp_path / f"t{suffix}", (tmp_path / "a.wav", tmp_path / "b.wav")
    for recording in recordings:
        recording.write_bytes(b"first")
        os.utime(recording, ns=(0, 10**18))
    assert completed(table, recordings) == ["a.wav", "b.wav"]
    assert completed(table, recordings) == []
    recordings[0].write_bytes(b"other")  # the same size, and older than before
    os.utime(recordings[0], ns=(0, 10**17))
    assert completed(table, recordings) == ["a.wav"]
    recordings[1].write_bytes(b"longer than before")
    os.utime(recordings[1], ns=(0, 10**18))
    assert completed(table, recordings) == ["b.wav"]
    assert completed(table, recordings) == []


def test_a_replacement_of_the_same_size_and_time_is_scored_again(tmp_path: Path) -> None:
    """As `cp -p`, `rsync -t` and archives write it."""
    table, file = tmp_path / "t.csv", tmp_path / "a.wav"
    file.write_bytes(b"one")
    os.utime(file, ns=(10**18, 10**18))
    log = SourceLog(table, empty=True)
    log.add(file, state(file))
    log.close()
    reopened = SourceLog(table, empty=False)
    assert reopened.get(file) == state(file)
    other = tmp_path / "other.wav"
    other.write_bytes(b"two")
    os.utime(other, ns=(10**18, 10**18))
    time.sleep(0.02)
    other.replace(file)
    assert reopened.get(file) != state(file)
    reopened.close()


def test_without_a_log_files_newer_than_the_table_are_scored_again(tmp_path: Path) -> None:
    table, recordings = tmp_path / "t.csv", (tmp_path / "a.wav", tmp_path / "b.wav")
    for recording in recordings:
        recording.write_bytes(b"first")
        os.utime(recording, ns=(0, 10**18))
    completed(table, recordings)
    (tmp_path / ".t.csv.sources.jsonl").unlink()
    os.utime(recordings[1], ns=(0, table.stat().st_mtime_ns + 10**9))
    assert completed(table, recordings) == ["b.wav"]


def test_two_spellings_of_a_path_are_one_recording(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.wav").write_bytes(b"first")
    (tmp_path / "link.wav").symlink_to(tmp_path / "a.wav")
    table = tmp_path / "t.csv"
    assert completed(table, (tmp_path / "a.wav",)) == ["a.wav"]
    for spelling in (Path("a.wav"), tmp_path / "sub" / ".." / "a.wav", Path("link.wav")):
        assert completed(table, (spelling,)) == []
        (found,) = csv.DictReader(table.read_text().splitlines())
        assert found["file"] == str(spelling)


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes on Linux")
def test_names_that_look_alike_are_different_recordings(tmp_path: Path) -> None:
    names = (b"\xff.wav", b"\\xff.wav", b"\\x5cxff.wav", b"\xfe.wav")
    recordings = tuple(tmp_path / os.fsdecode(name) for name in names)
    for recording in recordings:
        recording.touch()
    texts = {path_to_text(recording) for recording in recordings}
    assert len(texts) == len(recordings)
    log = SourceLog(tmp_path / "t.csv", empty=True)
    with tables.create(tmp_path / "t.csv") as table:
        log.add(recordings[0], state(recordings[0]))
        table.write(row(path_to_text(recordings[0])))
    log.close()
    opened, done = reopen(
        tmp_path / "t.csv", Wanted(recordings, "ab", "1", RECORDINGS), log_of(tmp_path / "t.csv")
    )
    opened.close(complete=True)
    assert done == {recordings[0]}


@pytest.mark.parametrize(("channels", "kept"), [("mix", [None]), ("each", []), (2, [2])])
def test_rows_of_another_choice_of_channels_are_scored_again(
    tmp_path: Path, channels: Channels, kept: list[int | None]
) -> None:
    for number in (None, 1, 2):
        with tables.create(tmp_path / "t.csv") as table:
            table.write(dataclasses.replace(row("a.wav"), channel=number))
        opened, done = reopen(
            tmp_path / "t.csv",
            Wanted([Path("a.wav")], "ab", "1", RECORDINGS, channels),
            log_of(tmp_path / "t.csv"),
        )
        opened.close(complete=False)
        assert bool(done) == (number in kept)


@pytest.mark.parametrize(("before", "kept"), [("each", True), (1, False), ("mix", False)])
def test_one_channel_is_not_taken_for_all_channels(tmp_path: Path, before: Channels, kept: bool) -> None:
    """The row of channel 1 of a stereo file looks like the only row of a mono file."""
    files = [tmp_path / "a.wav", tmp_path / "b.wav"]
    for file in files:
        file.write_bytes(b"RIFF")
    log = SourceLog(tmp_path / "t.csv", empty=True, channels=before)
    with tables.create(tmp_path / "t.csv") as table:
        for file in files:
            log.add(file, state(file))
            table.write(dataclasses.replace(row(str(file)), channel=1))
    log.close()
    again = SourceLog(tmp_path / "t.csv", empty=False, channels="each")
    opened, done = reopen(tmp_path / "t.csv", Wanted(files, "ab", "1", RECORDINGS, "each"), again)
    opened.close(complete=False)
    again.close()
    assert (files[0] in done) == kept


@pytest.mark.parametrize("content", [b"", b"PAR1PAR1", b"PAR1" + bytes(3000) + b"PAR1", b"text"])
def test_a_damaged_parquet_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t.parquet").write_bytes(content)
    with pytest.raises(UsageError, match="not a table"):
        reopen(tmp_path / "t.parquet", wanted(RECORDINGS), log_of(tmp_path / "t.parquet"))


@pytest.mark.parametrize("content", ['{"file":' + "[" * 100_000, "[" * 100_000, "9" * 10_000])
def test_deeply_nested_json_lines_are_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "t.jsonl").write_text(content + "\n")
    with pytest.raises(UsageError, match="name another output"):
        reopen(tmp_path / "t.jsonl", wanted(RECORDINGS), log_of(tmp_path / "t.jsonl"))


def test_long_cells_are_read(tmp_path: Path) -> None:
    with tables.create(tmp_path / "t.csv") as table:
        table.write(dataclasses.replace(row("a.wav"), flags=("x" * 300_000,)))
    assert resumed(tmp_path / "t.csv", RECORDINGS, ("a.wav",)) == []


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("keep.csv", "my notes\n"),
        ("keep.csv", "my notes"),
        ("keep.csv", "\n"),
        ("keep.csv", "file\nabc"),
        ("keep.csv", "file,mos,error\n"),
        ("keep.jsonl", "my notes"),
        ("keep.jsonl", '{"name": "a.wav"'),
    ],
)
def test_a_file_without_a_row_that_is_no_such_table_is_left_alone(tmp_path: Path, name: str, content: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(UsageError, match=r"is not a table of scores|has other columns"):
        reopen(path, wanted(RECORDINGS), log_of(path))
    assert path.read_text() == content


def test_a_parquet_file_without_rows_that_has_other_columns_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "keep.parquet"
    pq.write_table(pa.table({"name": pa.array([], pa.string())}), path)
    before = path.read_bytes()
    with pytest.raises(UsageError, match="is not a table of scores"):
        reopen(path, wanted(RECORDINGS), log_of(path))
    assert path.read_bytes() == before


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_an_empty_file_is_a_table_that_was_begun(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"t{suffix}"
    path.touch()
    assert resumed(path, RECORDINGS) == list(FILES)
    assert path.read_bytes() == unbroken(tmp_path / f"whole{suffix}", RECORDINGS)
