"""Training on tables of ratings: what is read, how it is divided, and what the trained model is."""

from __future__ import annotations

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
from mtqnet.scoring import models
from mtqnet.scoring.predictor import Predictor
from mtqnet.targets import BY_KEY, OBJECTIVE
from mtqnet.training import config as configs
from mtqnet.training import methods, mpl, pipeline, tables
from mtqnet.training.config import MOSA_NET, Config, FitConfig, Method, RatingsConfig
from mtqnet.training.data import CALIBRATION, RunPaths
from mtqnet.training.pipeline import Listener
from mtqnet.training.ratings import RATED
from mtqnet.training.tuning import TuneConfig

Samples = NDArray[np.float32]
Write = Callable[[Path, Sequence[Mapping[str, object]]], Path]
QUIET = Listener(lambda *_: None, lambda *_: None)
PSEUDO = tuple(target.key for target in OBJECTIVE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, voice: Callable[..., Samples]) -> Path:
    """24 recordings of four speakers: the louder, the better; two without ratings; a clean reference."""
    home = tmp_path_factory.mktemp("calls")
    for number in range(26):
        sf.write(home / f"{number:02d}.flac", voice(0.6, level_db=-48 + 1.5 * number, seed=number), SAMPLE_RATE)
    (home / "more").mkdir()
    for number in range(4):
        sf.write(home / "more" / f"u{number}.flac", voice(0.6, level_db=-40 + 5 * number, seed=99), SAMPLE_RATE)
    return home


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model.write(tmp_path_factory.mktemp("teacher") / "teacher", seed=3)


def rows(count: int = 24, **columns: Any) -> list[dict[str, object]]:
    return [
        {
            "file": f"{n:02d}.flac", "speaker": f"s{n % 4}", "s_mos": round(4.8 - n / 10, 2),
            "n_mos": round(1.2 + n / 7, 2), "g_mos": round(1.3 + n / 8, 2), **columns,
        }
        for n in range(count)
    ]  # fmt: skip


def config(table: Path, teacher: Path, method: Method = "mpl", **ratings: Any) -> Config:
    return Config(
        "mine", seed=2, method=method, network=tiny_model.KINDS["plain"],
        ratings=RatingsConfig((str(table),), **{"by": "speaker", **ratings}), pretrained=str(teacher),
        student=FitConfig(epochs=2, batch=8, level_db=0.0),
    )  # fmt: skip


def paths(out: Path) -> RunPaths:
    return RunPaths(Path(), out, None, 1)


def read(table: Path, out: Path, **ratings: Any) -> tables.Material:
    return tables.read(RatingsConfig((str(table),), **ratings), paths(out), lambda *_: None)


def run(settings: Config, out: Path) -> tuple[pipeline.FinishedRun, list[str]]:
    notes: list[str] = []
    done = pipeline.train(settings, paths(out), replace(QUIET, note=notes.append))
    return done, notes


@pytest.fixture(scope="module")
def table(folder: Path, write: Write) -> Path:
    return write(folder / "labels.csv", rows())


@pytest.fixture(scope="module")
def trained(table: Path, teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    out = tmp_path_factory.mktemp("run")
    done, notes = run(config(table, teacher, unlabelled=(str(table.parent / "more"),)), out)
    return done.exported.model, notes


def test_trained_model_scores_and_its_record_names_the_data(trained: tuple[Path, list[str]], table: Path) -> None:
    model, notes = trained
    scores = Predictor(model).score(table.parent / "03.flac").raise_for_error()
    assert scores.g_mos is not None and scores.pesq_est is not None
    record = json.loads(model.with_suffix(".json").read_text())
    assert record["ratings"]["recordings"] == 24 and record["ratings"]["unlabelled"] == 4
    assert record["ratings"]["splits"] == {"train": 12, "validation": 6, CALIBRATION: 0, RATED: 6}
    assert record["ratings"]["teacher"]["name"] == "teacher"
    assert {figure["split"] for figure in record["figures"]} == {"validation", RATED}
    assert any("figures have little meaning" in note for note in notes)


def test_model_card_names_data_figures_and_missing_intervals(trained: tuple[Path, list[str]]) -> None:
    card = trained[0].with_suffix(".md").read_text()
    data = "labels.csv: 24 recordings in 4 groups (grouped by speaker)"
    figures, intervals, labels = "| rated | G-MOS | 6 |", "None: intervals", "Pseudo labels by teacher"
    for text in (data, figures, intervals, labels, "figures have little meaning"):
        assert text in card


def test_pseudo_labels_are_the_scores_of_the_teacher(table: Path, teacher: Path, tmp_path: Path) -> None:
    prepared = tables.prepare(config(table, teacher), paths(tmp_path), lambda *_: None)
    assert prepared.pretrained is not None and prepared.pretrained.network is None
    names = [row["file"] for row in prepared.rows if row["split"] == "train"]
    for place in (0, 5):
        scores = Predictor(teacher).score(names[place])
        for key in PSEUDO:
            assert prepared.pretrained.labels[key][place] == pytest.approx(scores.value(key), rel=1e-4)


@pytest.mark.parametrize("method", ["scratch", "transfer"])
def test_other_methods_predict_only_rated_scores(
    method: Method, folder: Path, teacher: Path, write: Write, tmp_path: Path
) -> None:
    some = write(tmp_path / "labels.csv", [
        {**row, "file": folder / str(row["file"]), "s_mos": ""} for row in rows()
    ])  # fmt: skip
    done, _ = run(config(some, teacher, method), tmp_path / "run")
    assert models.find(done.exported.model).targets == ("n_mos", "g_mos")


def test_transfer_needs_the_dimensions_of_the_teacher(table: Path, teacher: Path, tmp_path: Path) -> None:
    settings = config(table, teacher, "transfer")
    other = replace(settings, network=replace(settings.network, lstm=10))
    with pytest.raises(UsageError, match="lstm = 12"):
        run(other, tmp_path)


def test_teacher_must_predict_pesq_stoi_and_sdi(table: Path, teacher: Path, tmp_path: Path) -> None:
    scratch, _ = run(config(table, teacher, "scratch"), tmp_path / "scratch")
    with pytest.raises(ModelError, match="does not predict PESQ"):
        run(config(table, scratch.exported.model), tmp_path / "other")


def test_references_give_true_values_which_may_replace_pseudo_labels(
    folder: Path, teacher: Path, write: Write, tmp_path: Path
) -> None:
    some = write(tmp_path / "labels.csv", [
        {**row, "file": folder / str(row["file"]), "clean": folder / "23.flac" if n else ""}
        for n, row in enumerate(rows())
    ])  # fmt: skip
    settings = config(some, teacher, reference="clean", true_values=True)
    prepared = tables.prepare(settings, paths(tmp_path / "run"), lambda *_: None)
    truth = prepared.train.labels
    assert np.isnan(truth["sdi_est"]).sum() <= 1 < np.isfinite(truth["sdi_est"]).sum()
    assert prepared.pretrained is not None
    known = np.isfinite(truth["sdi_est"])
    assert np.array_equal(prepared.pretrained.labels["sdi_est"][known], truth["sdi_est"][known])
    assert prepared.about["teacher"]["figures"]["sdi_est"]["clips"] == known.sum()


def test_groups_are_never_divided(table: Path, tmp_path: Path) -> None:
    material = read(table, tmp_path, by="speaker")
    found, notes = tables.splits(material, RatingsConfig(by="speaker"))
    by_group = {
        group: {s for s, g in zip(found, material.rated.groups, strict=True) if g == group}
        for group in ["s0", "s1", "s2", "s3"]
    }
    assert all(len(each) == 1 for each in by_group.values()) and notes == []
    assert {split for each in by_group.values() for split in each} == {"train", "validation", RATED}


def test_two_groups_validate_inside_the_training_group_with_a_note(
    folder: Path, write: Write, tmp_path: Path
) -> None:
    some = write(folder / "two.csv", [{**row, "speaker": f"s{n % 2}"} for n, row in enumerate(rows())])
    material = read(some, tmp_path, by="speaker")
    found, notes = tables.splits(material, RatingsConfig(by="speaker"))
    tested = {g for s, g in zip(found, material.rated.groups, strict=True) if s == RATED}
    assert len(tested) == 1 and found.count("validation") == 2 and "same group" in notes[0]


def test_without_groups_a_note_warns(table: Path, tmp_path: Path) -> None:
    found, notes = tables.splits(read(table, tmp_path), RatingsConfig())
    assert found.count(RATED) == 5 and "too optimistic" in notes[0]


def test_split_of_many_recordings_has_a_part_for_calibration() -> None:
    names = [str(n) for n in range(120)]
    found = tables.calibrating(["validation"] * 100 + ["train"] * 20, names)
    assert found.count(CALIBRATION) == 50 and found[100:] == ["train"] * 20
    assert CALIBRATION not in tables.calibrating(["validation"] * 79, names)


def test_split_column_is_used(folder: Path, write: Write, tmp_path: Path) -> None:
    names = ("train", "validation", "test", "calibration")
    some = write(folder / "split.csv", [{**row, "part": names[n % 4]} for n, row in enumerate(rows())])
    settings = RatingsConfig((str(some),), split="part")
    cells, notes = tables.splits(read(some, tmp_path, split="part"), settings)
    assert cells[:4] == ["train", "validation", RATED, CALIBRATION] and not notes
    wrong = write(folder / "wrong.csv", rows(part="dev"))
    with pytest.raises(UsageError, match="'dev' is no split"):
        read(wrong, tmp_path, split="part")


def test_a_long_recording_counts_as_one_rating(
    tmp_path: Path, voice: Callable[..., Samples], write: Write, folder: Path
) -> None:
    sf.write(tmp_path / "long.flac", voice(21.0), SAMPLE_RATE)
    some = write(tmp_path / "labels.csv", [
        {"file": "long.flac", "g_mos": 3.0},
        *({"file": folder / f"{n:02d}.flac", "g_mos": 2 + n / 12} for n in range(12)),
    ])  # fmt: skip
    material = read(some, tmp_path / "run")
    data = tables.labelled(material, [None] * len(material.segments.clips), np.array([0]))  # type: ignore[list-item]
    assert len(data.clips) > 1
    assert data.weights["g_mos"].sum() == pytest.approx(1.0) and set(data.labels["g_mos"]) == {3.0}


def bad(change: Callable[[list[dict[str, object]]], None]) -> list[dict[str, object]]:
    changed = rows()
    change(changed)
    return changed


def put(key: str, value: Any, every: int = 1) -> Callable[[list[dict[str, object]]], None]:
    def change(changed: list[dict[str, object]]) -> None:
        for row in changed[::every]:
            row[key] = value(row) if callable(value) else value

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (put("g_mos", 3), "all 24 ratings of G-MOS are 3"),
        (put("g_mos", 7.5, every=7), "7.5"),
        (put("g_mos", lambda row: 20 * float(row["g_mos"])), "not on the scale of G-MOS"),
        (put("file", lambda row: "no_" + str(row["file"])), "0 rated recordings can be scored"),
        (put("speaker", ""), "'speaker' is empty"),
        (put("g_mos", "good"), "'good' is not a number"),
    ],
)
def test_bad_tables_are_errors(
    change: Callable[[list[dict[str, object]]], None], says: str, folder: Path, write: Write, tmp_path: Path
) -> None:
    some = write(folder / "bad.csv", bad(change))
    with pytest.raises(UsageError, match=says):
        read(some, tmp_path, by="speaker")


def test_one_group_is_an_error(folder: Path, write: Write, tmp_path: Path) -> None:
    some = write(folder / "one.csv", rows(room="hall"))
    material = read(some, tmp_path, by="room")
    with pytest.raises(UsageError, match="the same group \\(room is 'hall'\\)"):
        tables.splits(material, RatingsConfig(by="room"))


def test_no_ratings_of_mos_is_an_error(folder: Path, write: Write, tmp_path: Path) -> None:
    some = write(
        folder / "pesq.csv", [{"file": row["file"], "pesq": 1.5 + n / 20} for n, row in enumerate(rows())]
    )
    with pytest.raises(UsageError, match="no recording has a rating of S-, N- or G-MOS"):
        read(some, tmp_path)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (put("g_mos", 99, every=6), "4 cells with 99 read as no rating"),
        (put("g_mos", 0, every=6), "4 cells with 0 read as no rating"),
        (put("file", "missing.flac", every=24), "1 of 24 recordings cannot be scored and are skipped"),
        (lambda changed: changed.extend(changed[:3]), "3 duplicated rows counted once"),
    ],
)
def test_stated_rules_are_notes(
    change: Callable[[list[dict[str, object]]], None], says: str, folder: Path, write: Write, tmp_path: Path
) -> None:
    some = write(folder / "noted.csv", bad(change))
    assert any(says in note for note in read(some, tmp_path, by="speaker").notes)


def test_votes_in_long_form_are_averaged_per_recording(folder: Path, write: Write, tmp_path: Path) -> None:
    votes = [
        {"file": f"{n:02d}.flac", "listener": f"L{v}", "mos": 1 + (n + v) % 5} for n in range(12) for v in range(4)
    ]
    material = read(write(folder / "votes.csv", votes), tmp_path)
    assert len(material.rated.names) == 12
    assert material.rated.labels["g_mos"][0] == pytest.approx(np.mean([1, 2, 3, 4]))
    assert any("one row per vote: 48 rows" in note for note in material.notes)


def test_3quest_export_with_bands_decimal_commas_and_utf16(folder: Path, tmp_path: Path) -> None:
    lines = ["Measurement;S-MOS-LQOn;S-MOS-LQOw;N-MOS-LQOn;N-MOS-LQOw;G-MOS-LQOn;G-MOS-LQOw"]
    for n in range(12):
        cells = [f"{x:.2f}".replace(".", ",") for x in (4.5 - n / 10, 2 + n / 10, 1.5 + n / 5)]
        lines.append(
            ";".join([f"{n:02d}", *(part for cell in cells for part in ((cell, "") if n % 2 else ("", cell)))])
        )
    (folder / "3quest.csv").write_text("\n".join(lines), encoding="utf-16")
    material = read(folder / "3quest.csv", tmp_path, by="band")
    assert material.rated.labels["s_mos"][3] == pytest.approx(4.2) and set(material.rated.groups) == {"n", "w"}


def test_recording_in_two_tables_is_an_error(folder: Path, write: Write, tmp_path: Path) -> None:
    names = tuple(str(write(folder / f"{name}.csv", rows())) for name in ("a", "b"))
    with pytest.raises(UsageError, match="put its ratings into one table"):
        tables.read(RatingsConfig(names), paths(tmp_path), lambda *_: None)


def test_training_needs_data(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no training data"):
        pipeline.train(Config("empty"), paths(tmp_path), QUIET)


def test_corpus_and_tables_have_their_weights(table: Path, tmp_path: Path) -> None:
    material = read(table, tmp_path, by="speaker")
    clips: list[Any] = [object()] * len(material.segments.clips)
    one = tables.labelled(material, clips, np.arange(24))
    corpus = replace(one.take(np.arange(6)), weights={})
    both = tables.joined((corpus, one), (0.5, 2.0))
    assert len(both.clips) == 30
    assert set(both.weights["g_mos"][:6]) == {0.5} and both.weights["g_mos"][6:] == pytest.approx(2.0)


@pytest.fixture(scope="module")
def compared(
    table: Path, teacher: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[methods.Comparison, Path, Config]:
    out = tmp_path_factory.mktemp("compare")
    settings = config(table, teacher, unlabelled=(str(table.parent / "more"),))
    settings = replace(settings, student=replace(settings.student, epochs=1))
    tune = TuneConfig(epochs=1, frozen_epochs=1, batch=8)
    return methods.compare(settings, paths(out), 2, lambda *_: None, str(teacher), tune), out, settings


def test_comparison_has_all_methods_with_intervals_and_differences(
    compared: tuple[methods.Comparison, Path, Config],
) -> None:
    result = compared[0]
    assert {line.method for line in result.rows} == set(methods.METHODS)
    assert {line.target for line in result.rows} == {"s_mos", "n_mos", "g_mos", methods.MEAN}
    for line in result.rows:
        assert line.recordings == 24 and line.lcc.low <= line.lcc.mean <= line.lcc.high
        assert (line.less is None) == (line.method == methods.REFERENCE)
    page = result.page.read_text()
    assert "24 rated recordings in 4 groups (speaker), 4 folds, 2 seeds" in page
    assert sorted(path.name for path in result.page.parent.iterdir()) == [
        "comparison.csv", "comparison.md", "comparison.svg"
    ]  # fmt: skip


def test_second_comparison_uses_the_stored_scores(
    compared: tuple[methods.Comparison, Path, Config], teacher: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result, out, settings = compared
    monkeypatch.setattr(methods, "_train", lambda *_: pytest.fail("trained again"))
    again = methods.compare(settings, paths(out), 2, lambda *_: None, str(teacher))
    assert again.rows == result.rows


def test_folds_test_every_recording_once_and_divide_no_group() -> None:
    groups = [f"s{n % 4}" for n in range(24)]
    found = methods.folds(groups, [str(n) for n in range(24)])
    assert sorted(np.concatenate([fold.test for fold in found]).tolist()) == list(range(24))
    for fold in found:
        parts = [{groups[n] for n in part} for part in (fold.train, fold.validation, fold.test)]
        assert not parts[0] & parts[1] and not parts[2] & (parts[0] | parts[1])


def test_comparison_needs_a_table(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs tables of ratings"):
        methods.compare(Config("x"), paths(tmp_path), 2, lambda *_: None)


def test_figures_of_a_perfect_method_are_perfect() -> None:
    truth = {"g_mos": np.array([1.0, 2, 3, 4, 5])}
    reversed_scores = {"g_mos": truth["g_mos"][::-1].copy()}
    lines = methods.summarise({"scratch": [reversed_scores] * 2, "mpl": [truth] * 2}, {
        **{key: np.full(5, np.nan) for key in ("s_mos", "n_mos")}, **truth
    })  # fmt: skip
    assert [line.lcc.mean for line in lines] == pytest.approx([-1, 1])
    assert lines[1].less is not None and lines[1].less.mean == pytest.approx(2) and lines[1].mse == 0
    assert BY_KEY["g_mos"].name == "G-MOS"


def test_the_configuration_of_the_guide_starts_from_the_shipped_teacher() -> None:
    config = configs.load(Path(__file__).parents[2] / "configs/ratings.toml")
    network = mpl.initial_network(config, MOSA_NET)
    assert tuple(network.targets) == tuple(target.key for target in OBJECTIVE)
