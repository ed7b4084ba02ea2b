"""Several processes give the rows that one gives."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import soundfile as sf

from mtqnet.errors import ModelError, MtqnetError, NoAudioFoundError
from mtqnet.scoring import batch, workers
from mtqnet.scoring.batch import Job
from mtqnet.scoring.predictor import Predictor
from mtqnet.scoring.scores import Scores
from mtqnet.scoring.workers import Setting


@pytest.fixture
def jobs(good_file: Path, bad_files: dict[str, Path], tmp_path: Path) -> list[Job]:
    samples, rate = sf.read(good_file)
    for number in range(5):
        sf.write(tmp_path / f"{number}.wav", samples[: rate + 5_000 * number], rate)
    nothing = Job(tmp_path / "nothing", NoAudioFoundError("no audio in nothing"))
    return [*(Job(path) for path in sorted(tmp_path.glob("*.wav"))), *map(Job, bad_files.values()), nothing]


def test_rows_are_those_of_one_process_in_the_same_order(toy_model: Path, jobs: list[Job]) -> None:
    alone = list(batch.score_jobs(Predictor(toy_model, track=False), jobs))
    spread = list(workers.score_jobs(Setting(str(toy_model)), 2, jobs))
    assert spread == alone
    assert [row.windows for row in spread] == [row.windows for row in alone]
    assert [type(row.exception) for row in spread] == [type(row.exception) for row in alone]


def test_jobs_are_taken_as_rows_are_asked_for(
    toy_model: Path, good_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "AHEAD", 2)
    taken: list[int] = []

    def endless() -> object:
        for number in range(1_000_000):
            taken.append(number)
            yield Job(good_file)

    rows = workers.score_jobs(Setting(str(toy_model)), 2, endless())  # type: ignore[arg-type]
    assert next(rows).error is None
    assert len(taken) == 4
    rows.close()  # type: ignore[attr-defined]


def test_a_model_that_does_not_load_is_told(jobs: list[Job], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such model file"):
        list(workers.score_jobs(Setting(str(tmp_path / "gone.onnx")), 2, jobs))


def test_the_environment_is_left_as_it_was(
    toy_model: Path, good_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    assert len(list(workers.score_jobs(Setting(str(toy_model)), 2, [Job(good_file)]))) == 1
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "MKL_NUM_THREADS" not in os.environ


class PickyError(Exception):
    """Wants two arguments, so that it cannot be copied by way of pickle."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(one + two)


def test_an_exception_that_cannot_travel_becomes_its_words() -> None:
    sent = workers._portable(Scores(error="PickyError: ab", exception=PickyError("a", "b")))
    assert isinstance(sent.exception, MtqnetError)
    assert str(sent.exception) == "PickyError: ab"
