"""Metrics keep sums, counts and every file's scores, with torchmetrics as base class."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mtqnet.errors import UsageError
from mtqnet.integrations import metric
from mtqnet.integrations.metric import GMOS, SDI, SpeechQuality
from mtqnet.scoring.predictor import Predictor
from mtqnet.scoring.scores import Scores
from mtqnet.targets import BY_KEY, KEYS

Samples = NDArray[np.float32]

RATE = 16_000
SINGLE = [metric.SMOS, metric.NMOS, metric.GMOS, metric.PESQ, metric.STOI, metric.SDI]


@pytest.fixture
def clips(voice: Callable[..., Samples]) -> torch.Tensor:
    """(3, samples), each louder than the one before."""
    return torch.from_numpy(np.stack([voice(1.0, level_db=level) for level in (-40.0, -30.0, -20.0)]))


def served(model: Path, clip: torch.Tensor, key: str, rate: int = RATE) -> float:
    value = Predictor(model).score(clip.numpy(), rate).raise_for_error().value(key)
    assert value is not None
    return value


def test_mean_and_files_are_what_is_served(toy_model: Path, clips: torch.Tensor) -> None:
    told = GMOS(RATE, toy_model)
    told.update(clips[:2])
    told.update(clips[2])
    each = [served(toy_model, clip, "g_mos") for clip in clips]
    assert told.per_file[:, 0].tolist() == pytest.approx(each)
    assert float(told.compute()) == pytest.approx(np.mean(each))
    assert len(set(each)) == 3


def test_all_scores_at_once_are_those_of_the_single_metrics(toy_model: Path, clips: torch.Tensor) -> None:
    whole = SpeechQuality(RATE, toy_model)
    whole.update(clips)
    means = whole.compute()
    assert tuple(means) == KEYS
    for kind in SINGLE:
        single = kind(RATE, toy_model)
        single.update(clips)
        assert float(single.compute()) == pytest.approx(float(means[kind.key]), rel=1e-5)


def test_mean_of_sdi_is_that_of_its_logarithm(toy_model: Path, clips: torch.Tensor) -> None:
    told = SDI(RATE, toy_model)
    told.update(clips)
    each = [served(toy_model, clip, "sdi_est") for clip in clips]
    assert float(told.compute()) == pytest.approx(float(np.exp(np.mean(np.log(each)))))


def test_rate_is_that_of_the_samples(toy_model: Path, voice: Callable[..., Samples]) -> None:
    clip = torch.from_numpy(voice(1.0, rate=48_000))
    told = GMOS(48_000, toy_model)
    told.update(clip)
    assert float(told.compute()) == pytest.approx(served(toy_model, clip, "g_mos", 48_000))


def test_padding_is_not_heard(toy_model: Path, clips: torch.Tensor) -> None:
    padded = torch.cat([clips, 0.3 * torch.ones(3, 4_000)], dim=1)
    one, other = GMOS(RATE, toy_model), GMOS(RATE, toy_model)
    one.update(clips)
    other.update(padded, [16_000] * 3)
    assert torch.equal(one.per_file, other.per_file)


def test_what_cannot_be_scored_counts_apart(toy_model: Path, clips: torch.Tensor) -> None:
    told = GMOS(RATE, toy_model)
    told.update(torch.stack([clips[0], torch.zeros(16_000)]))
    assert (int(told.scored), int(told.unscored)) == (1, 1)
    assert told.per_file[:, 0].isnan().tolist() == [False, True]
    assert float(told.compute()) == pytest.approx(served(toy_model, clips[0], "g_mos"))


def test_call_gives_its_batch_and_adds_it(toy_model: Path, clips: torch.Tensor) -> None:
    told = GMOS(RATE, toy_model)
    first, second = told(clips[:1]), told(clips[1:])
    assert float(first) == pytest.approx(served(toy_model, clips[0], "g_mos"))
    assert float(second) != pytest.approx(float(told.compute()))
    assert float(told.compute()) == pytest.approx(float(told.per_file.mean()))
    assert len(told.per_file) == 3


def test_reset_forgets(toy_model: Path, clips: torch.Tensor) -> None:
    told = GMOS(RATE, toy_model)
    told.update(clips)
    told.reset()
    assert told.per_file.shape == (0, 1) and int(told.scored) == 0
    told.update(clips[0])
    assert float(told.compute()) == pytest.approx(served(toy_model, clips[0], "g_mos"))


def test_states_of_two_processes_reduce_to_those_of_one(toy_model: Path, clips: torch.Tensor) -> None:
    """Sums add and lists are joined: so torchmetrics would synchronise them."""
    one, other, both = (GMOS(RATE, toy_model) for _ in range(3))
    one.update(clips[:1])
    other.update(clips[1:])
    both.update(clips)
    reductions = {"total": "sum", "scored": "sum", "unscored": "sum", "values": "cat"}
    for name, how in reductions.items():
        left, right = getattr(one, name), getattr(other, name)
        reduced = left + right if how == "sum" else torch.cat([*left, *right])
        setattr(one, name, reduced)
    assert torch.equal(one.per_file, both.per_file)
    assert float(one.compute()) == pytest.approx(float(both.compute()))


def test_copies_and_pickles_do_not_share_states(toy_model: Path, clips: torch.Tensor) -> None:
    told = GMOS(RATE, toy_model)
    told.update(clips)
    for twin in (copy.deepcopy(told), pickle.loads(pickle.dumps(told))):
        twin.update(clips)
        assert len(twin.per_file) == 6 and len(told.per_file) == 3
        assert float(twin.compute()) == pytest.approx(float(told.compute()))


@pytest.mark.parametrize("kind", SINGLE)
def test_directions_are_those_of_the_targets(kind: type[GMOS]) -> None:
    assert kind.higher_is_better is BY_KEY[kind.key].higher_is_better
    assert kind.is_differentiable is False
    assert kind.full_state_update is False


def test_all_at_once_has_no_direction() -> None:
    assert SpeechQuality.higher_is_better is None


def test_other_shapes_are_refused(toy_model: Path) -> None:
    told = GMOS(RATE, toy_model)
    for preds, lengths in ((torch.zeros(1, 1, 16_000), None), (torch.zeros(2, 16_000), [16_000])):
        with pytest.raises(UsageError):
            told.update(preds, lengths)


def test_model_without_the_score_is_refused(
    toy_model: Path, clips: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Predictor, "score", lambda *_: Scores(s_mos=3.0, model="half"))
    with pytest.raises(UsageError, match="half has no score 'g_mos'"):
        GMOS(RATE, toy_model).update(clips)


def test_torchmetrics_takes_them(toy_model: Path, clips: torch.Tensor) -> None:
    import torchmetrics

    together = torchmetrics.MetricCollection([GMOS(RATE, toy_model), SDI(RATE, toy_model)])
    together.update(clips)
    assert set(together.compute()) == {"GMOS", "SDI"}
    assert issubclass(GMOS, torchmetrics.Metric)


@pytest.mark.parametrize("kind", [torch.int16, torch.int32])
def test_integers_are_scaled_by_their_full_scale(toy_model: Path, clips: torch.Tensor, kind: torch.dtype) -> None:
    integers = (clips.to(torch.float64) * -torch.iinfo(kind).min).round().to(kind)
    floats, scaled = SpeechQuality(RATE, toy_model), SpeechQuality(RATE, toy_model)
    floats.update(clips)
    scaled.update(integers)
    torch.testing.assert_close(scaled.per_file, floats.per_file, atol=0.05, rtol=0)
