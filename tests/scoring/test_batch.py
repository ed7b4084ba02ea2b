"""Folders: what is found, in which order, and what happens to a folder without audio."""

from __future__ import annotations

from pathlib import Path

import pytest

from mtqnet.errors import NoAudioFoundError
from mtqnet.scoring.batch import expand, score_jobs
from mtqnet.scoring.predictor import Predictor


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


def test_folders_are_searched_sorted_and_without_what_is_hidden(tree: Path) -> None:
    assert names(tree, [tree]) == ["a.FLAC", "b.wav", "sub/c.mp3"]


def test_named_files_are_kept_whatever_they_are(tree: Path) -> None:
    paths = [tree / "notes.txt", tree / "gone.wav", tree / ".hidden.wav"]
    assert [job.path for job in expand(paths)] == paths


def test_order_is_the_one_given_and_nothing_comes_twice(tree: Path) -> None:
    assert names(tree, [tree / "sub", tree, tree / "b.wav", tree / "sub" / ".." / "b.wav"]) == [
        "sub/c.mp3",
        "a.FLAC",
        "b.wav",
    ]


def test_links_are_followed_once(tree: Path) -> None:
    (tree / "sub" / "round").symlink_to(tree, target_is_directory=True)
    (tree / "twice.wav").symlink_to(tree / "b.wav")
    assert names(tree, [tree]) == ["a.FLAC", "b.wav", "sub/c.mp3"]


def test_nothing_at_all_is_an_error(tree: Path) -> None:
    with pytest.raises(NoAudioFoundError, match=r"no audio in .*empty"):
        expand([tree / "empty"])


def test_a_folder_without_audio_does_not_keep_the_rest_from_being_scored(
    tree: Path, good_file: Path, toy_model: Path
) -> None:
    rows = list(score_jobs(Predictor(toy_model), expand([tree / "empty", good_file])))
    assert [row.file for row in rows] == [str(tree / "empty"), str(good_file)]
    assert rows[0].error is not None
    assert "no audio" in rows[0].error
    assert rows[1].error is None
