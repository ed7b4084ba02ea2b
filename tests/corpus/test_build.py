"""A small corpus from generated talkers: the same on one core and on two, and after an interruption."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from numpy.typing import NDArray

from mtqnet.corpus.build import COLUMNS, TABLE, Order, build, make_clip, read_table
from mtqnet.corpus.pool import Pool, Sources
from mtqnet.corpus.recipe import Recipe, render
from mtqnet.corpus.sources import SPLITS, Item
from mtqnet.errors import CorpusError
from mtqnet.labels.intrusive import objective
from mtqnet.labels.three_signal import curves, label
from mtqnet.targets import TARGETS

Rows = list[dict[str, str]]

OTHER_CURVES = replace(curves(), noise=())


@pytest.fixture(scope="module")
def order(sources: Sources) -> Order:
    return Order(sources, {"train": 4, "validation": 1, "test": 1}, seed=3)


@pytest.fixture(scope="module")
def built(order: Order, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("corpus")
    build(order, out, jobs=1)
    return out


@pytest.fixture(scope="module")
def rows(built: Path) -> Rows:
    return read_table(built / TABLE)


def content(folder: Path) -> dict[str, str]:
    """Digest of the table and of every clip, by path."""
    files = [folder / TABLE, *sorted((folder / "audio").rglob("*.flac"))]
    return {f.relative_to(folder).as_posix(): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def test_table_has_a_row_for_each_clip_in_order(rows: Rows) -> None:
    assert tuple(rows[0]) == COLUMNS
    assert [row["split"] for row in rows] == ["train"] * 4 + ["validation", "test"]
    assert [Path(row["file"]).stem for row in rows] == ["000000", "000001", "000002", "000003", "000000", "000000"]


def test_labels_lie_within_their_ranges(rows: Rows) -> None:
    for row in rows:
        for target in TARGETS:
            assert target.low <= float(row[target.label]) <= target.high


def test_row_is_what_its_recipe_makes(built: Path, rows: Rows) -> None:
    """The recipe in the table alone gives the audio of the file and its labels."""
    for row in rows[:3]:
        tracks = render(Recipe.from_json(row["recipe"]))
        stored, rate = sf.read(built / row["file"], dtype="float32")
        assert rate == 16_000 and len(stored) / rate == pytest.approx(float(row["seconds"]), abs=1e-3)
        np.testing.assert_allclose(stored, tracks.mixture, atol=2**-23)
        quest, measures = label(tracks.clean, tracks.speech, tracks.noise), objective(tracks.clean, tracks.mixture)
        assert float(row["s_mos"]) == pytest.approx(quest.s_mos, abs=1e-5)
        assert float(row["n_mos"]) == pytest.approx(quest.n_mos, abs=1e-5)
        assert float(row["pesq"]) == pytest.approx(measures.pesq, abs=1e-5)
        assert float(row["sdi"]) == pytest.approx(measures.sdi, abs=1e-5)


def test_two_processes_make_what_one_makes(built: Path, order: Order, tmp_path: Path) -> None:
    build(order, tmp_path, jobs=2)
    assert content(tmp_path) == content(built)


def test_interrupted_build_goes_on_to_the_same_end(built: Path, order: Order, tmp_path: Path) -> None:
    out = tmp_path / "again"
    shutil.copytree(built, out)
    next((out / "parts").glob("train-000000*.jsonl")).unlink()
    (out / "audio/train/000002.flac").write_bytes(b"half a clip")
    (out / TABLE).unlink()
    seen: list[tuple[int, int]] = []
    build(order, out, jobs=1, progress=lambda done, total: seen.append((done, total)))
    assert content(out) == content(built)
    assert seen == [(2, 6), (6, 6)], "only the missing part was made"
    assert not list(out.rglob("*.tmp"))


def test_finished_build_makes_nothing_anew(built: Path, order: Order) -> None:
    before = {file: file.stat().st_mtime_ns for file in (built / "audio").rglob("*.flac")}
    build(order, built, jobs=1)
    assert {file: file.stat().st_mtime_ns for file in before} == before


@pytest.mark.parametrize(
    "change",
    [
        lambda order: replace(order, seed=4),
        lambda order: replace(order, split_seed=1),
        lambda order: replace(order, sources=replace(order.sources, rooms=())),
    ],
    ids=["seed", "split", "sources"],
)
def test_folder_of_another_corpus_is_left_alone(
    change: Callable[[Order], Order], built: Path, order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mtqnet.corpus.build.pools", lambda *_: {})
    before = content(built)
    with pytest.raises(CorpusError, match="other options"):
        build(change(order), built, jobs=1)
    assert content(built) == before


@pytest.mark.parametrize(
    ("part", "value"),
    [("mtqnet.corpus.build.curves", lambda: OTHER_CURVES), ("mtqnet.corpus.recipe.SCENES", {"clean": 1.0})],
    ids=["labeller", "scenes"],
)
def test_folder_of_other_labels_or_recipes_is_left_alone(
    part: str, value: object, built: Path, order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(part, value)
    with pytest.raises(CorpusError, match="other options"):
        build(order, built, jobs=1)


def test_corpus_grows_and_keeps_its_clips(built: Path, order: Order, tmp_path: Path) -> None:
    out = tmp_path / "more"
    shutil.copytree(built, out)
    grown = read_table(build(replace(order, clips={**order.clips, "train": 5}), out, jobs=1))
    before = {row["file"]: row for row in read_table(built / TABLE)}
    assert len(grown) == len(before) + 1
    assert {row["file"]: row for row in grown if row["file"] in before} == before
    digests = content(out)
    assert all(digests[file] == content(built)[file] for file in before)


def test_splits_share_no_speaker_and_no_noise(rows: Rows) -> None:
    used: dict[str, set[str]] = {split: set() for split in SPLITS}
    for row in rows:
        recipe = Recipe.from_json(row["recipe"])
        assert recipe.speaker == row["speaker"]
        used[row["split"]].add(recipe.speaker)
        for step in recipe.steps:
            files = [getattr(step, "file", None), *getattr(step, "files", ())]
            used[row["split"]] |= {Path(file).name.split("-")[0] for file in files if file}
    assert sum(map(len, used.values())) == len(set.union(*used.values()))


def test_silent_speech_ends_the_build_in_words(tmp_path: Path) -> None:
    silent = tmp_path / "silent.wav"
    sf.write(silent, np.zeros(64_000), 16_000)
    noise: NDArray[np.float64] = np.random.default_rng(0).standard_normal(64_000) / 10
    sf.write(tmp_path / "noise.wav", noise, 16_000)
    pool = Pool((Item(str(silent), "a", 4.0),), (Item(str(tmp_path / "noise.wav"), "n", 4.0),), ())
    with pytest.raises(CorpusError, match="is the speech silent"):
        make_clip(pool, "train", 0, 1, tmp_path / "clip.flac")
