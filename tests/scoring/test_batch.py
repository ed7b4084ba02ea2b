"""Which recordings files and folders contribute, in which order, and what is written for those that cannot be read."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtqnet.errors import NoAudioFoundError, UnreadableError, UsageError
from mtqnet.scoring import batch
from mtqnet.scoring.batch import expand, find_jobs, path_to_text, text_to_path
from mtqnet.scoring.predictor import Predictor

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="file systems of Unix")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("b.wav", "a.FLAC", "notes.txt", ".hidden.wav", "sub/c.mp3", ".git/d.wav", "sub/._c.mp3"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    (tmp_path / "empty").mkdir()
    return tmp_path


def names(root: Path, paths: list[Path]) -> list[str]:
    return [job.path.relative_to(root).as_posix() for job in expand(paths)]


def test_folders_are_searched_sorted_and_without_hidden_files(tree: Path) -> None:
    assert names(tree, [tree]) == ["a.FLAC", "b.wav", "sub/c.mp3"]


def test_named_files_are_kept_whatever_they_are(tree: Path) -> None:
    paths = [tree / "notes.txt", tree / "gone.wav", tree / ".hidden.wav"]
    assert [job.path for job in expand(paths)] == paths


def test_order_is_the_one_given_and_no_recording_is_listed_twice(tree: Path) -> None:
    assert names(tree, [tree / "sub", tree, tree / "b.wav", tree / "sub" / ".." / "b.wav"]) == [
        "sub/c.mp3",
        "a.FLAC",
        "b.wav",
    ]


def test_links_are_followed_once(tree: Path) -> None:
    (tree / "sub" / "round").symlink_to(tree, target_is_directory=True)
    (tree / "twice.wav").symlink_to(tree / "b.wav")
    assert names(tree, [tree]) == ["a.FLAC", "b.wav", "sub/c.mp3"]


def test_a_folder_without_recordings_is_an_error_if_there_is_nothing_else(tree: Path, good_file: Path) -> None:
    with pytest.raises(NoAudioFoundError, match=r"no recordings in .*empty"):
        expand([tree / "empty"])
    first, second = expand([tree / "empty", good_file])
    assert isinstance(first.problem, NoAudioFoundError) and second.problem is None


def test_a_folder_without_recordings_does_not_keep_the_rest_from_being_scored(
    tree: Path, good_file: Path, toy_model: Path
) -> None:
    rows = list(Predictor(toy_model).score_jobs(expand([tree / "empty", good_file])))
    assert [row.file for row in rows] == [str(tree / "empty"), str(good_file)]
    assert rows[0].error is not None and "no recordings" in rows[0].error
    assert rows[1].error is None


@pytest.mark.parametrize("path", ["", Path("a") / ""])
def test_an_empty_path_is_refused(path: str | Path) -> None:
    if path == "":
        with pytest.raises(UsageError, match="empty"):
            expand([path])
    else:
        assert expand([path])[0].path == path


@pytest.mark.parametrize(
    "name",
    [
        "call.m4a",
        "call.AMR",
        "call.3gp",
        "call.webm",
        "call.wma",
        "film.mov",
        "a.opus",
        "a.wave",
        "a.wav ",
        "a.wav\r",
    ],
)
def test_recordings_in_other_containers_are_rows_not_omissions(tmp_path: Path, toy_model: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"not decodable" * 50)
    (row,) = Predictor(toy_model).score_jobs(expand([tmp_path]))
    assert row.file == str(tmp_path / name)
    assert row.error


@POSIX
def test_what_cannot_be_opened_is_a_row_with_its_reason(tmp_path: Path, good_file: Path, toy_model: Path) -> None:
    (tmp_path / "good.wav").write_bytes(good_file.read_bytes())
    (tmp_path / "gone.wav").symlink_to(tmp_path / "nowhere.wav")
    (tmp_path / "loop.wav").symlink_to(tmp_path / "loop.wav")
    (tmp_path / "zero.wav").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe.wav")
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(tmp_path)  # the path of a socket is limited to 108 bytes
        try:
            listener.bind("sock.wav")
        finally:
            os.chdir(here)
    rows = {Path(row.file or "").name: row.error for row in Predictor(toy_model).score_jobs(expand([tmp_path]))}
    assert rows.pop("good.wav") is None
    assert set(rows) == {"gone.wav", "loop.wav", "zero.wav", "pipe.wav", "sock.wav"}
    assert all(rows.values())


@POSIX
@pytest.mark.parametrize("what", ["folder", "file"])
def test_missing_permission_is_a_row(
    tmp_path: Path, toy_model: Path, good_file: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "good.wav").write_bytes(good_file.read_bytes())
    locked = tmp_path / "locked"
    if what == "folder":
        locked.mkdir()
        (locked / "b.wav").write_bytes(good_file.read_bytes())
    else:
        locked = locked.with_suffix(".wav")
        locked.write_bytes(good_file.read_bytes())
    locked.chmod(0)
    if os.access(locked, os.R_OK):  # the superuser may read it
        if what == "file":
            pytest.skip("needs a user without special rights")
        scan = os.scandir

        def refuse(path: str) -> object:
            if Path(path) == locked:
                raise PermissionError(13, "Permission denied", path)
            return scan(path)

        monkeypatch.setattr(os, "scandir", refuse)
    rows = {Path(row.file or "").name: row.error for row in Predictor(toy_model).score_jobs(expand([tmp_path]))}
    locked.chmod(0o700)
    assert rows["good.wav"] is None
    assert "ermission" in (rows[locked.name] or "")


@POSIX
def test_a_folder_whose_path_is_too_long_is_a_row(tmp_path: Path) -> None:
    here = Path.cwd()
    os.chdir(tmp_path)
    try:
        for _ in range(60):
            Path("d" * 80).mkdir()
            os.chdir("d" * 80)
    finally:
        os.chdir(here)
    (job,) = find_jobs(tmp_path)
    assert isinstance(job.problem, UnreadableError) and "too long" in str(job.problem)


@POSIX
def test_a_link_that_may_be_to_a_folder_is_a_row(tmp_path: Path) -> None:
    (tmp_path / "calls").symlink_to(tmp_path / "unmounted")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "notes.txt").symlink_to(tmp_path / "gone.txt")
    (tmp_path / "README").touch()
    jobs = {job.path.name: str(job.problem) for job in find_jobs(tmp_path)}
    assert list(jobs) == ["calls", "loop"]
    assert all("the link leads to nothing" in problem for problem in jobs.values())


@POSIX
def test_a_thousand_levels_of_folders_are_searched(tmp_path: Path) -> None:
    here = Path.cwd()
    os.chdir(tmp_path)
    try:
        for _ in range(1200):
            Path("d").mkdir()
            os.chdir("d")
        Path("deep.wav").touch()
        os.chdir(here)
        (job,) = find_jobs(tmp_path)
        assert job.path.name == "deep.wav"
    finally:
        os.chdir(here)
        # shutil.rmtree, with which pytest removes its folders, does not reach this depth
        subprocess.run(["rm", "-rf", str(tmp_path / "d")], check=True)


@pytest.mark.parametrize("path", ["a\0b.wav", "\ud800.wav", "x" * 5000])
def test_paths_that_cannot_exist_are_rows(toy_model: Path, path: str) -> None:
    (row,) = Predictor(toy_model).score_jobs(expand([path]))
    assert row.error
    assert row.file is not None
    row.file.encode()


@POSIX
@given(
    st.lists(st.sampled_from([b"\\", b"x", b"5", b"c", b"ff", b"\xff", b"\xc3", b"\xa9", b"a", b"\xed\xa0\x80"]))
)
def test_path_and_text_are_inverse(parts: list[bytes]) -> None:
    name = b"n" + b"".join(parts)
    text = path_to_text(os.fsdecode(name))
    text.encode()
    assert os.fsencode(text_to_path(text)) == name


def test_ordinary_names_are_unchanged() -> None:
    for name in ("call.wav", "é/ü.wav", "back\\slash.wav", "C:\\calls\\a.wav", "100%.wav"):
        assert path_to_text(name) == name


def test_processes_pay_off_for_many_files_only() -> None:
    assert batch.worthwhile_processes(batch.FILES_PER_PROCESS - 1) == 1
    assert batch.worthwhile_processes(1_000_000) == batch.cores()
