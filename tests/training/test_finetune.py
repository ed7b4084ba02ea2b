"""Fine-tuning: the model is more accurate on unseen speakers, or it is not written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from numpy.typing import NDArray

import tiny_model
from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.errors import ModelError, UsageError
from mtqnet.evaluation import ratings
from mtqnet.scoring import models
from mtqnet.scoring.intervals import Band, Intervals
from mtqnet.scoring.predictor import Predictor
from mtqnet.targets import KEYS
from mtqnet.training.export import export, load_weights
from mtqnet.training.finetune import AFTER, BEFORE, Options, Outcome, finetune
from mtqnet.training.tuning import TuneConfig
from research import model_card as card

Samples = NDArray[np.float32]
Write = Callable[[Path, Sequence[Mapping[str, object]]], Path]

TUNE = TuneConfig(epochs=24, frozen_epochs=6, batch=4, head_rate=3e-2, rate=1e-2)
QUICK = replace(TUNE, epochs=1, frozen_epochs=1)
INTERVALS = Intervals(0.9, {key: Band((0.0,) * 28, 0.0, 0.0, 0.5) for key in KEYS})


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory, voice: Callable[..., Samples], write: Write) -> Path:
    """Three talkers, eight recordings each: the louder, the better. One has no rating, one no sound."""
    folder = tmp_path_factory.mktemp("ratings")
    rows: list[dict[str, object]] = []
    for number in range(24):
        level = -48.0 + 1.5 * number
        sf.write(folder / f"{number:02d}.flac", voice(0.6, level_db=level, seed=number), SAMPLE_RATE)
        rows.append({"file": f"{number:02d}", "talker": f"t{number % 3}", "ovrl_mos": 1.2 + number / 6.5,
                     "ovrl_std": 0.7, "n_votes": 8 + number % 3})  # fmt: skip
    rows[5]["ovrl_mos"] = ""
    sf.write(folder / "silent.flac", np.zeros(SAMPLE_RATE), SAMPLE_RATE)
    rows.append({**rows[0], "file": "silent"})
    return write(folder / "labels.csv", rows)


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model.write(tmp_path_factory.mktemp("parent") / "parent", intervals=INTERVALS)


def options(labels: Path, parent: Path, out: Path, **changes: Any) -> Options:
    asked = Options(
        ratings.read(labels), labels.parent, out, out.with_name("work"), str(parent), "talker",
        ("t2",), tuning=TUNE, jobs=1, command="mtqnet finetune labels.csv",
    )  # fmt: skip
    return replace(asked, **changes)


def run(asked: Options) -> Outcome:
    return finetune(asked, lambda *_: None)


@pytest.fixture(scope="module")
def tuned(labels: Path, parent: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Outcome, Path]:
    """Trained on two speakers and compared on the third."""
    out = tmp_path_factory.mktemp("tuned") / "mine"
    return run(options(labels, parent, out)), out


def test_error_on_an_unseen_speaker_decreases_in_scoring(
    tuned: tuple[Outcome, Path], labels: Path, parent: Path
) -> None:
    outcome, out = tuned
    assert outcome.reason == ""
    figures = {f.split: f for f in outcome.figures}
    assert figures[AFTER].rmse < 0.8 * figures[BEFORE].rmse
    table = ratings.read(labels)
    held = [n for n, talker in enumerate(table.column("talker")[:24]) if talker == "t2"]
    held = [n for n in held if not np.isnan(table.ratings["g_mos"].mean[n])]
    assert figures[AFTER].clips == len(held) == 7
    truth = table.ratings["g_mos"].mean[held]
    for model, when in ((parent, BEFORE), (out, AFTER)):
        scores = Predictor(model).score_files(labels.parent / f"{n:02d}.flac" for n in held)
        served = np.array([score.raise_for_error().g_mos for score in scores])
        assert np.sqrt(np.mean((served - truth) ** 2)) == pytest.approx(figures[when].rmse, abs=5e-3)


def test_change_of_other_scores_is_reported(tuned: tuple[Outcome, Path]) -> None:
    assert {change.target for change in tuned[0].changes} == set(KEYS) - {"g_mos"}


def test_result_is_a_folder_with_model_record_and_weights(
    tuned: tuple[Outcome, Path], labels: Path, parent: Path
) -> None:
    outcome, out = tuned
    assert sorted(path.name for path in out.iterdir()) == ["mine.json", "mine.onnx", "mine.safetensors"]
    record = json.loads((out / "mine.json").read_text())
    assert record["name"] == record["config"]["name"] == "mine"
    assert record["parent"] == {"name": "parent", "sha256": models.find(parent).sha256}
    tuning = record["tuning"]
    assert tuning["labels"]["sha256"] == hashlib.sha256(labels.read_bytes()).hexdigest()
    assert tuning["labels"]["columns"] == {"g_mos": "ovrl_mos"}
    assert tuning["command"] == "mtqnet finetune labels.csv"
    assert tuning["tuned"] == ["g_mos"] and tuning["epochs"] == outcome.epochs > 0
    assert "whose talker is t2" in tuning["split"]
    assert tuning["error"]["after"] < tuning["error"]["before"]
    assert record["figures"][0]["split"] == "held out"
    assert load_weights(out).network.targets == KEYS  # it can be tuned again


def test_simultaneous_calls_may_share_a_work_folder(
    labels: Path, parent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def meanwhile(network: Any, encoder: Any, name: str, *rest: Any) -> object:
        made = export(network, encoder, name, *rest)
        if name == "first":
            run(options(labels, parent, tmp_path / "second", tuning=QUICK, force=True))
        return made

    monkeypatch.setattr("mtqnet.training.finetune.export", meanwhile)
    run(options(labels, parent, tmp_path / "first", tuning=QUICK, force=True))
    for name in ("first", "second"):
        assert models.find(tmp_path / name).name == name
    assert not list((tmp_path / "work").glob("model*"))


def test_model_card_of_the_result(tuned: tuple[Outcome, Path], tmp_path: Path) -> None:
    words = card.text([models.find(tuned[1])], tmp_path)
    assert "MPL, fine-tuned from `parent`" in words
    assert "| held out | G-MOS | 7 |" in words


def test_intervals_are_reported_and_part_of_scores(tuned: tuple[Outcome, Path], labels: Path) -> None:
    outcome, out = tuned
    assert outcome.intervals.messages["g_mos"].startswith("widened by")  # seven ratings of test recordings are few
    scores = Predictor(out).score(labels.parent / "02.flac").raise_for_error()
    assert set(scores.intervals) == set(KEYS)


def test_recordings_that_cannot_be_scored_are_reported(tuned: tuple[Outcome, Path]) -> None:
    assert [path.stem for path, _ in tuned[0].refused] == ["silent"]


def test_second_call_uses_the_features_and_does_not_replace_an_equal_model(
    tuned: tuple[Outcome, Path], labels: Path, parent: Path
) -> None:
    _, out = tuned
    work = out.with_name("work")
    kept = {path: path.stat().st_mtime_ns for path in work.rglob("*.npy")}
    before = (out / "mine.onnx").read_bytes()
    again = run(options(labels, parent, out))
    assert kept and {path: path.stat().st_mtime_ns for path in work.rglob("*.npy")} == kept
    assert "as good or better" in again.reason
    assert (out / "mine.onnx").read_bytes() == before


def test_model_without_improvement_is_written_only_with_force(
    labels: Path, parent: Path, tuned: tuple[Outcome, Path], tmp_path: Path
) -> None:
    still = replace(TUNE, epochs=1, head_rate=1e-12)  # below the resolution of a 32-bit weight
    asked = options(labels, parent, tmp_path / "mine", tuning=still, work=tuned[1].with_name("work"))
    outcome = run(asked)
    assert "no better" in outcome.reason and "--force" in outcome.reason
    assert not (tmp_path / "mine").exists()
    assert run(replace(asked, force=True, unlabelled=labels.parent)).reason == ""
    tuning = json.loads((tmp_path / "mine/mine.json").read_text())["tuning"]
    assert tuning["forced"] is True
    assert tuning["unlabelled_pieces"] == 24  # all but the silent one


def test_each_speaker_is_tested_once_and_the_final_model_is_trained_on_all(
    labels: Path, parent: Path, tuned: tuple[Outcome, Path], tmp_path: Path
) -> None:
    asked = options(
        labels, parent, tmp_path / "all", hold_out=(), each=True, tuning=replace(TUNE, epochs=9, frozen_epochs=3)
    )
    outcome = run(replace(asked, work=tuned[1].with_name("work")))
    assert {f.clips for f in outcome.figures} == {23}
    assert "each of 3 groups (talker) was held out once" in outcome.plan.description
    assert outcome.intervals.messages["g_mos"] == "re-calibrated on 23 held-out recordings"
    figures = {f.split: f.rmse for f in outcome.figures}
    assert figures[AFTER] < figures[BEFORE]


def test_damaged_existing_model_is_an_error_and_replaced_with_force(
    labels: Path, parent: Path, tmp_path: Path
) -> None:
    out = tiny_model.write(tmp_path / "mine")
    (out / "mine.json").unlink()

    def never(*_: object) -> None:
        raise AssertionError("nothing is heard before")

    with pytest.raises(ModelError, match="--force replaces it"):
        finetune(options(labels, parent, out), never)
    assert run(options(labels, parent, out, tuning=QUICK, force=True)).reason == ""
    assert models.find(out).name == "mine"


def test_mistakes_are_reported_before_any_computation(labels: Path, parent: Path, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    other = tmp_path / "other"
    other.mkdir()
    (other / "old.onnx").write_bytes(b"")
    for changes, says in (
        ({"out": file}, "is a file"),
        ({"out": other}, r"contains the model old\.onnx"),
        ({"targets": ("s_mos",)}, "ratings of g_mos only"),
        ({"hold_out": ("nobody",)}, "no recording has talker 'nobody'"),
        ({"by": "room"}, "no column 'room'"),
    ):
        with pytest.raises(UsageError, match=says):
            run(replace(options(labels, parent, tmp_path / "mine"), **changes))


def test_model_without_weights_is_refused(labels: Path, parent: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    for suffix in (".onnx", ".json"):
        (bare / f"parent{suffix}").write_bytes((parent / f"parent{suffix}").read_bytes())
    with pytest.raises(ModelError, match=r"no weights for training: there is no parent\.safetensors"):
        run(options(labels, bare, tmp_path / "mine"))


def test_too_few_ratings_are_refused(parent: Path, labels: Path, write: Write, tmp_path: Path) -> None:
    rows = [{"file": labels.parent / f"{n:02d}.flac", "talker": n, "mos": 3} for n in range(4)]
    with pytest.raises(UsageError, match="4 rated recordings"):
        run(options(write(tmp_path / "few.csv", rows), parent, tmp_path / "mine"))


def test_command_prints_before_and_after_and_its_exit_code_tells_whether_it_wrote(
    run: Callable[..., Any], labels: Path, parent: Path, tmp_path: Path
) -> None:
    command = (
        "finetune",
        labels,
        "--by",
        "talker",
        "--hold-out",
        "t2",
        "--model",
        parent,
        "--out",
        tmp_path / "my",
    )
    done = run(*command, "--epochs", "4", OMP_NUM_THREADS="1")
    assert done.returncode in (0, 3), done.stderr
    assert "Held out: before -> after" in done.stdout and "Scores without ratings: change" in done.stdout
    assert "whose talker is t2" in done.stdout and "Intervals: " in done.stdout
    assert "1 of 25 recordings have no score" in done.stderr
    assert done.returncode == (0 if (tmp_path / "my/my.onnx").exists() else 3)


@pytest.mark.shared
def test_real_ratings_improve_scores_of_an_unseen_speaker(shared_data: Path, parent: Path, tmp_path: Path) -> None:
    """P.835 ratings of CSP835: 52 recordings of two talkers teach, 26 of the third judge."""
    table = ratings.read(shared_data / "p835_csp835_refconditions/labels.csv")
    asked = Options(
        table, table.path.parent, tmp_path / "csp", tmp_path / "work", str(parent), "speaker", ("m1",),
        targets=("g_mos",), tuning=replace(TUNE, epochs=4, frozen_epochs=3), jobs=1,
    )  # fmt: skip
    outcome = run(asked)
    figures = {(f.target, f.split): f for f in outcome.figures}
    assert figures["g_mos", AFTER].clips == 26
    assert figures["g_mos", AFTER].rmse < figures["g_mos", BEFORE].rmse
    assert {target for target, _ in figures} == {"s_mos", "n_mos", "g_mos"}  # rated, too, but regularised
    assert outcome.intervals.messages["g_mos"] == "re-calibrated on 26 held-out recordings"
    assert "votes and standard deviations" in outcome.weighting


def test_model_with_causes_and_distance_keeps_both(labels: Path, tmp_path: Path) -> None:
    """The intervals of the shipped models depend on the distance, which fine-tuning must compute, too."""
    bands = {key: Band((*(0.0,) * 28, 0.5), -1.0, 1.0, 0.5) for key in KEYS}
    parent = tiny_model.write(tmp_path / "parent", "causes", intervals=Intervals(0.9, bands))
    run(options(labels, parent, tmp_path / "mine", tuning=QUICK, force=True))
    before, after = (Predictor(folder).score(labels.parent / "20.flac") for folder in (parent, tmp_path / "mine"))
    assert after.distance is not None and before.causes.keys() == after.causes.keys() != set()
    assert after.intervals.keys() == set(KEYS)
    assert models.find(tmp_path / "mine").local
