"""Which recordings belong together, and that a split never parts them."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.corpus.sources import SHARES, SPLITS, of_split, scan, split_of
from mtqnet.errors import CorpusError


def write(root: Path, *names: str, seconds: float = 0.1) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        sf.write(root / name, np.full(round(seconds * SAMPLE_RATE), 0.1), SAMPLE_RATE)


def groups(root: Path, *, by_speaker: bool = True) -> dict[str, str]:
    return {Path(item.path).name: item.group for item in scan([root], by_speaker=by_speaker)}


def test_librispeech_names_are_grouped_by_speaker(tmp_path: Path) -> None:
    write(tmp_path, "1688/142285/1688-142285-0000.flac", "1688/9/1688-9-0003.flac", "7/1/7-1-0000.flac")
    found = groups(tmp_path)
    assert set(found.values()) == {"1688", "7"}
    assert found["1688-142285-0000.flac"] == found["1688-9-0003.flac"]


def test_vctk_names_are_grouped_by_speaker(tmp_path: Path) -> None:
    write(tmp_path, "p232_003.wav", "p232_014.wav", "s5_001.wav", "p257_001_mic1.flac")
    found = groups(tmp_path)
    assert found["p232_003.wav"] == found["p232_014.wav"] == "p232"
    assert found["p257_001_mic1.flac"] == "p257"


def test_other_names_are_grouped_by_folder_or_stand_alone(tmp_path: Path) -> None:
    write(tmp_path, "anna/one.wav", "anna/two.wav", "bert/one.wav", "loose.wav", "lost.wav")
    assert {item.group for item in scan([tmp_path], by_speaker=True)} == {"anna", "bert", "loose", "lost"}


@pytest.mark.parametrize("column", ["speaker", "talker"])
def test_index_states_which_files_and_whose(column: str, tmp_path: Path) -> None:
    write(tmp_path, "a/1.wav", "a/2.wav", "unlisted.wav")
    with (tmp_path / "index.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["file", column, "seconds"], ["a/1.wav", "x", "9.5"], ["a/2.wav", "y", ""]])
    items = scan([tmp_path], by_speaker=True)
    assert [(Path(i.path).name, i.group, round(i.seconds, 3)) for i in items] == [
        ("1.wav", "x", 9.5),
        ("2.wav", "y", 0.1),
    ]


def test_index_without_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "index.csv").write_text("name,speaker\n1.wav,x\n")
    with pytest.raises(CorpusError, match="no column `file`"):
        scan([tmp_path], by_speaker=True)


@pytest.mark.parametrize("indexed", [True, False])
def test_every_noise_is_a_group_whatever_folder_contains_the_data(indexed: bool, tmp_path: Path) -> None:
    seen = []
    for home in ("here", "there/deep"):
        root = tmp_path / home / "noise"
        write(root, "street/1.wav", "street/2.wav", "1.wav")
        if indexed:
            (root / "index.csv").write_text("file\nstreet/1.wav\nstreet/2.wav\n1.wav\n")
        seen.append({item.group for item in scan([root], by_speaker=False)})
    assert seen[0] == seen[1] == {"noise/street/1.wav", "noise/street/2.wav", "noise/1.wav"}


def test_items_come_in_one_order(tmp_path: Path) -> None:
    write(tmp_path, "b/2.wav", "a/1.wav", "c.wav")
    one, two = tmp_path / "a", tmp_path / "b"
    assert scan([one, two], by_speaker=True) == scan([two, one], by_speaker=True)


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    write(tmp_path, "voice.wav")
    (tmp_path / "README.md").write_text("words")
    assert list(groups(tmp_path)) == ["voice.wav"]


def test_folder_without_audio_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no audio below"):
        scan([tmp_path], by_speaker=True)
    with pytest.raises(CorpusError, match="not a folder"):
        scan([tmp_path / "missing"], by_speaker=True)


def test_nothing_asked_for_nothing_found() -> None:
    assert scan([], by_speaker=False) == []


def test_shares_are_about_right() -> None:
    count = Counter(split_of(f"speaker{number}", 0) for number in range(5_000))
    for split in SHARES:
        assert count[split] / 5_000 == pytest.approx(SHARES[split], abs=0.02)


def test_another_seed_is_another_split() -> None:
    names = [f"speaker{number}" for number in range(300)]
    assert [split_of(name, 0) for name in names] == [split_of(name, 0) for name in names]
    assert [split_of(name, 0) for name in names] != [split_of(name, 1) for name in names]


def test_new_recordings_move_no_other(tmp_path: Path) -> None:
    write(tmp_path, *(f"{speaker}/{speaker}-1-0000.flac" for speaker in range(40)))
    before = {split: of_split(scan([tmp_path], by_speaker=True), split, 3) for split in SPLITS}
    write(tmp_path, *(f"{speaker}/{speaker}-1-{n:04d}.flac" for speaker in range(80) for n in range(2)))
    after = {split: of_split(scan([tmp_path], by_speaker=True), split, 3) for split in SPLITS}
    for split in SPLITS:
        assert set(before[split]) <= set(after[split])


def test_no_group_is_in_two_splits(tmp_path: Path) -> None:
    write(tmp_path, *(f"{speaker}/{speaker}-1-{n:04d}.flac" for speaker in range(50) for n in range(2)))
    items = scan([tmp_path], by_speaker=True)
    parts = [of_split(items, split, 0) for split in SHARES]
    assert sum(map(len, parts)) == len(items)
    speakers = [{item.group for item in part} for part in parts]
    assert sum(map(len, speakers)) == 50


@pytest.mark.parametrize(
    ("names", "speaker"),
    [
        (("reader_06709_a/book_1_reader_06709_0_seg_0.wav", "book_2_reader_06709_3_seg_1.wav"), "06709"),  # DNS
        (("1034/121119/1034_121119_000005_000001.wav", "1034/7/1034_7_000001_000000.wav"), "1034"),  # LibriTTS
        (("id10001/abc/00001.wav", "id10001/xyz/00001.wav"), "id10001"),  # VoxCeleb
        (("bdl/wav/a0001.wav", "bdl/wav/a0002.wav"), "bdl"),  # ARCTIC
    ],
)
def test_layouts_of_public_corpora_keep_a_speaker_together(
    names: tuple[str, ...], speaker: str, tmp_path: Path
) -> None:
    write(tmp_path, *names)
    assert {item.group for item in scan([tmp_path], by_speaker=True)} == {speaker}


def test_channels_of_one_room_go_together(tmp_path: Path) -> None:
    write(tmp_path, "hall_ch1.wav", "hall_ch2.wav", "cave.wav")
    found = groups(tmp_path, by_speaker=False)
    assert found["hall_ch1.wav"] == found["hall_ch2.wav"] != found["cave.wav"]


def test_an_index_may_group_noises(tmp_path: Path) -> None:
    write(tmp_path, "a.wav", "b.wav")
    (tmp_path / "index.csv").write_text("file,group\na.wav,school\nb.wav,school\n")
    assert set(groups(tmp_path, by_speaker=False).values()) == {"school"}


def test_a_damaged_file_is_named_and_hidden_ones_are_passed_over(tmp_path: Path) -> None:
    write(tmp_path, "good.wav")
    (tmp_path / "._good.wav").write_bytes(b"")
    assert set(groups(tmp_path)) == {"good.wav"}
    (tmp_path / "bad.wav").write_bytes(b"")
    with pytest.raises(CorpusError, match=r"bad\.wav"):
        scan([tmp_path], by_speaker=True)


def index_of(folder: Path, *rows: dict[str, str]) -> None:
    folder.mkdir(parents=True)
    lines = [",".join(rows[0]), *(",".join(row.values()) for row in rows)]
    (folder / "index.csv").write_text("\n".join(lines) + "\n")


def test_a_folder_of_indexed_folders_is_read_as_all_of_them(tmp_path: Path) -> None:
    facts = {"seconds": "4", "language": "fr", "unlabelled": "", "split": "", "bandwidth_hz": "7900"}
    index_of(tmp_path / "one", {"file": "a.flac", "speaker": "anna", **facts})
    many = {**facts, "unlabelled": "50", "split": "train"}
    index_of(tmp_path / "two", {"file": "b.flac", "speaker": "crowd", **many})
    first, second = scan([tmp_path], by_speaker=True)
    assert (first.group, first.language, first.speakers, first.split) == ("anna", "fr", 1, "")
    assert (second.group, second.speakers, second.split) == ("crowd", 50, "train")
    found = {split: {item.group for item in of_split([first, second], split, 0)} for split in SHARES}
    assert "crowd" in found["train"] and "crowd" not in found["validation"] | found["test"]
    assert {"crowd"} == {item.group for seed in range(40) for item in of_split([second], "train", seed)}


def test_narrowband_speech_is_no_reference_but_narrowband_noise_is_noise(tmp_path: Path) -> None:
    rows = [{"file": f"{hz}.flac", "speaker": "x", "seconds": "4", "bandwidth_hz": hz} for hz in ("3900", "7000")]
    index_of(tmp_path / "speech", *rows)
    assert [Path(item.path).name for item in scan([tmp_path / "speech"], by_speaker=True)] == ["7000.flac"]
    assert len(scan([tmp_path / "speech"], by_speaker=False)) == 2


def test_an_index_with_an_unknown_split_is_refused(tmp_path: Path) -> None:
    index_of(tmp_path / "speech", {"file": "a.flac", "speaker": "x", "seconds": "4", "split": "dev"})
    with pytest.raises(CorpusError, match=r"split 'dev' of a\.flac"):
        scan([tmp_path / "speech"], by_speaker=True)
