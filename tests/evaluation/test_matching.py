"""Names in a table are matched with the files of the same recordings only."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mtqnet.evaluation.recordings import locate, match, match_or_bare, parts


@pytest.mark.parametrize(
    ("name", "files", "place"),
    [
        ("wb/a.flac", ["x/fb/a.flac", "x/wb/a.flac"], 1),
        ("a.flac", ["scored/a.wav"], 0),  # another suffix
        ("https://host/clips/a.wav", ["here/clips/a.wav"], 0),
        ("deg\\a.wav", ["corpus/deg/a.wav"], 0),
        ("a.v2.wav", ["x/a.v2.wav", "x/a.wav"], 0),
        ("a.v2", ["x/a.v2.wav"], 0),
        ("a.flac", ["fb/a.flac", "wb/a.flac"], None),  # which of them?
        ("fb/a.flac", ["wb/a.flac"], None),
        ("b.flac", ["a.flac"], None),
        ("a.flac", [], None),
    ],
)
def test_as_much_of_the_name_as_both_have(name: str, files: list[str], place: int | None) -> None:
    assert match([name], Path("nowhere"), files) == [place]


def test_same_file_on_disk_goes_before_names(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.wav").touch()
    files = [str(tmp_path / "two" / "a.wav"), str(tmp_path / "one" / "a.wav")]
    assert match(["a.wav", "../two/a.wav"], tmp_path / "one", files) == [1, 0]


def test_dots_and_slashes_are_no_names() -> None:
    assert parts("./../wb/a.flac") == parts("/wb/a.wav") == ("wb", "a")


def test_recordings_are_found_below_the_folder(examples: Path, tmp_path: Path) -> None:
    (tmp_path / "wav" / "deep").mkdir(parents=True)
    shutil.copy(examples / "1_clean.flac", tmp_path / "wav" / "deep" / "1_clean.flac")
    shutil.copy(examples / "3_crowd.flac", tmp_path / "3_crowd.flac")
    found = locate(["1_clean", "3_crowd", "gone.wav"], tmp_path)
    assert found == [tmp_path / "wav/deep/1_clean.flac", tmp_path / "3_crowd.flac", tmp_path / "gone.wav"]


def test_bare_names_count_only_where_no_folder_agrees(examples: Path, tmp_path: Path) -> None:
    files = ["wavs/a.wav", "wavs/b.wav"]
    assert match_or_bare(["https://host/run7/a.wav", "https://host/run7/c.wav"], tmp_path, files) == [0, None]
    assert match_or_bare(["wavs/a.wav", "other/b.wav"], tmp_path, files) == [0, None]
    found = locate(["https://host/run7/1_clean.flac"], examples)
    assert found == [examples / "1_clean.flac"]
