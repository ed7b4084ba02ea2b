"""A small corpus from generated talkers: the same on one core and on two, and after an interruption."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile as sf
from numpy.typing import NDArray

from mtqnet.corpus import recipe as chain
from mtqnet.corpus.build import Order, build, make_clip
from mtqnet.corpus.degradations import STEPS, missing
from mtqnet.corpus.degradations import step as steps
from mtqnet.corpus.recipe import RECIPE_VERSION, Recipe, provenance, render
from mtqnet.corpus.sources import SHARES, Item, Pool, Sources
from mtqnet.corpus.table import COLUMNS, TABLE, read_clip, read_rows
from mtqnet.errors import CorpusError, MissingExtraError
from mtqnet.labels.intrusive import objective
from mtqnet.labels.speech import curves
from mtqnet.labels.three_signal import label
from mtqnet.targets import TARGETS
from research.robustness.kill_score import session

Rows = list[dict[str, Any]]
Samples = NDArray[np.float32]

OTHER_CURVES = replace(curves(), noise=())


@pytest.fixture(scope="module")
def order(sources: Sources) -> Order:
    return Order(sources, {"train": 4, "validation": 1, "test": 1, "unseen": 2}, seed=3, without=("missing",))


@pytest.fixture(scope="module")
def built(order: Order, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("corpus")
    build(order, out, jobs=1)
    return out


@pytest.fixture(scope="module")
def rows(built: Path) -> Rows:
    return read_rows(built)


def content(folder: Path) -> dict[str, str]:
    """Digest of the table and of every clip, by path."""
    files = [folder / TABLE, *sorted((folder / "audio").rglob("*.flac"))]
    return {f.relative_to(folder).as_posix(): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def test_table_has_a_row_for_each_clip_in_order(rows: Rows) -> None:
    assert tuple(rows[0]) == tuple(COLUMNS)
    splits = ["train"] * 4 + ["validation", "test"] + ["unseen"] * 2
    numbers = (0, 1, 2, 3, 0, 0, 0, 1)
    assert [row["split"] for row in rows] == splits
    assert [row["id"] for row in rows] == [f"{s}/{n:06d}" for s, n in zip(splits, numbers, strict=True)]


def test_table_has_one_type_a_column(built: Path) -> None:
    schema = pq.read_schema(built / TABLE)
    assert {field.name: str(field.type).replace("element: ", "") for field in schema} == COLUMNS


def test_shard_contains_the_clips_of_its_chunk_one_after_the_other(built: Path, rows: Rows) -> None:
    train = [row for row in rows if row["split"] == "train"]
    assert {row["shard"] for row in train} == {"audio/train/000000-000003.flac"}
    assert [row["start"] for row in train] == np.cumsum([0, *(row["samples"] for row in train[:-1])]).tolist()
    assert sf.info(built / train[0]["shard"]).frames == sum(row["samples"] for row in train)


def test_steps_are_those_of_the_recipe(rows: Rows) -> None:
    for row in rows:
        recipe = Recipe.from_json(row["recipe"])
        assert row["steps"] == [type(step).__name__ for step in recipe.steps]
        assert row["scene"] == recipe.scene


def test_labels_lie_within_their_ranges(rows: Rows) -> None:
    for row in rows:
        for target in TARGETS:
            assert target.low <= float(row[target.label]) <= target.high


def test_row_is_what_its_recipe_makes(built: Path, rows: Rows) -> None:
    """Audio and labels can be computed again from the recipe in the table."""
    for row in rows[:3]:
        tracks = render(Recipe.from_json(row["recipe"]))
        stored = read_clip(built, row)
        assert len(stored) / 16_000 == pytest.approx(row["seconds"], abs=1e-3)
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
    (out / "audio/train/000000-000003.flac").write_bytes(b"half a shard")
    (out / TABLE).unlink()
    seen: list[tuple[int, int]] = []
    build(order, out, jobs=1, progress=lambda done, total: seen.append((done, total)))
    assert content(out) == content(built)
    assert seen == [(4, 8), (8, 8)], "only the missing part was built"
    assert not list(out.rglob("*.tmp"))


KILLED = """
import sys
from pathlib import Path
from mtqnet.corpus import build
from mtqnet.corpus.degradations import STEPS, missing
from mtqnet.corpus.sources import Sources
build.CHUNK = 1
if __name__ == "__main__":
    speech, noise, rooms, out = map(Path, sys.argv[1:])
    clips = {"train": 5, "test": 1}
    build.build(build.Order(Sources((speech,), (noise,), (rooms,)), clips, 3, without=("missing",)), out, jobs=2)
"""


def test_killed_build_loses_nothing_and_doubles_nothing(material: Any, tmp_path: Path) -> None:
    script = tmp_path / "build_it.py"
    script.write_text(KILLED)
    command = [sys.executable, script, material.speech, material.noise, material.rooms]
    once, again = tmp_path / "once", tmp_path / "again"
    subprocess.run([*command, once], check=True, timeout=120)
    running = subprocess.Popen([*command, again], start_new_session=True, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 90
    while len(list(again.glob("parts/*.jsonl"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    running.kill()  # not its processes, which end themselves
    running.wait()
    deadline = time.monotonic() + 20
    while session(running.pid):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert not (again / TABLE).exists(), "killed in the middle"
    subprocess.run([*command, again], check=True, timeout=120)
    assert content(again) == content(once)
    assert len({row["id"] for row in read_rows(again)}) == 6
    assert not list(again.rglob("*.tmp"))


def test_finished_build_makes_nothing_again(built: Path, order: Order) -> None:
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
    [
        ("mtqnet.corpus.build.curves", lambda: OTHER_CURVES),
        ("mtqnet.corpus.recipe.SCENES", {"clean": (1.0, (chain.PLAYBACK,))}),
    ],
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
    grown = read_rows(build(replace(order, clips={**order.clips, "train": 5}), out, jobs=1))
    before = {row["id"]: row for row in read_rows(built)}
    assert len(grown) == len(before) + 1
    place = ("shard", "start")  # a last shard that was not full is built again as part of a longer one
    for row in grown:
        if row["id"] in before:
            old = before[row["id"]]
            assert {k: v for k, v in row.items() if k not in place} == {
                k: v for k, v in old.items() if k not in place
            }
            np.testing.assert_array_equal(read_clip(out, row), read_clip(built, old))
    assert {file.relative_to(out).as_posix() for file in out.rglob("*.flac")} == {row["shard"] for row in grown}


def test_splits_share_no_speaker_and_no_noise(rows: Rows) -> None:
    """`unseen` has the recordings of `test`."""
    used: dict[str, set[str]] = {split: set() for split in SHARES}
    for row in rows:
        recipe = Recipe.from_json(row["recipe"])
        assert recipe.speaker == row["speaker"]
        mine = used["test" if row["split"] == "unseen" else row["split"]]
        mine.add(recipe.speaker)
        for step in recipe.steps:
            files = [getattr(step, "file", None), *getattr(step, "files", ())]
            mine |= {Path(file).name.split("-")[0] for file in files if file}
    assert sum(map(len, used.values())) == len(set.union(*used.values()))


def test_silent_speech_ends_the_build_in_words(tmp_path: Path) -> None:
    silent = tmp_path / "silent.wav"
    sf.write(silent, np.zeros(64_000), 16_000)
    noise: NDArray[np.float64] = np.random.default_rng(0).standard_normal(64_000) / 10
    sf.write(tmp_path / "noise.wav", noise, 16_000)
    pool = Pool((Item(str(silent), "a", 4.0),), (Item(str(tmp_path / "noise.wav"), "n", 4.0),), ())
    with pytest.raises(CorpusError, match="is the speech silent"):
        make_clip(pool, "train", 0, 1)


def test_recording_that_ends_before_its_index_states_keeps_every_clip_in_its_place(
    material: Any, tmp_path: Path, voice: Callable[..., Samples]
) -> None:
    """Indices round seconds up: the last samples of a clip are then not there."""
    rows = ["file,speaker,seconds"]
    for number in range(40):
        sf.write(tmp_path / f"{number}.wav", voice(3.0, seed=number), 16_000)
        rows.append(f"{number}.wav,{number},3.01")
    (tmp_path / "index.csv").write_text("\n".join(rows))
    out = tmp_path / "corpus"
    made = read_rows(
        build(Order(Sources((tmp_path,), (material.noise,)), {"train": 3}, 1, without=("missing",)), out, jobs=1)
    )
    assert [row["start"] for row in made] == np.cumsum([0, *(row["samples"] for row in made[:-1])]).tolist()
    assert sf.info(out / made[0]["shard"]).frames == sum(row["samples"] for row in made)
    assert min(json.loads(row["recipe"])["samples"] - row["samples"] for row in made) > 0


def test_recording_that_is_gone_is_named(material: Any, tmp_path: Path) -> None:
    (tmp_path / "index.csv").write_text(
        "file,speaker,seconds\n" + "\n".join(f"{n}.wav,{n},4.0" for n in range(40))
    )
    order = Order(Sources((tmp_path,), (material.noise,)), {"train": 2}, 1, without=("missing",))
    with pytest.raises(CorpusError, match=r"\d+\.wav: no such file"):
        build(order, tmp_path / "corpus", jobs=1)


def test_folder_that_contains_something_else_is_left_alone(order: Order, tmp_path: Path) -> None:
    (tmp_path / "thesis.tmp").write_text("years of work")
    with pytest.raises(CorpusError, match="no corpus"):
        build(order, tmp_path, jobs=1)
    assert (tmp_path / "thesis.tmp").read_text() == "years of work"


def test_corpus_of_another_recipe_version_is_not_extended(
    built: Path, order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = provenance() | {"recipe_version": RECIPE_VERSION + 1}
    monkeypatch.setattr("mtqnet.corpus.build.provenance", lambda: other)
    with pytest.raises(CorpusError, match=r"provenance in corpus\.json"):
        build(order, built, jobs=1)


def test_tool_that_is_missing_is_named_before_anything_is_built(
    order: Order, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_out = tuple(kind for kind in STEPS if missing(kind))
    monkeypatch.setattr(steps, "find_spec", lambda name: None if name == "av" else find_spec(name))
    with pytest.raises(MissingExtraError, match=r"needs av\. Install them: pip install 'mtqnet\[corpus\]' \("):
        build(replace(order, without=left_out), tmp_path / "corpus", jobs=1)
    assert not (tmp_path / "corpus").exists()
