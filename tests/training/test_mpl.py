"""The method: MOSA-Net is trained on true PESQ, STOI and SDI; MTQ-Net on its predictions and S-, N- and G-MOS."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tiny
import torch
from numpy.typing import NDArray

from mtqnet.corpus import ensemble
from mtqnet.errors import UsageError
from mtqnet.targets import BY_KEY, KEYS, OBJECTIVE, QUEST
from mtqnet.training import mpl
from mtqnet.training.batches import Dataset, Labels
from mtqnet.training.config import ExistingModelsConfig
from mtqnet.training.model import Network

CONFIG = tiny.config(epochs=2)
PSEUDO = tuple(target.key for target in OBJECTIVE)


@pytest.fixture(scope="module")
def train() -> Dataset:
    return tiny.dataset(tiny.CHANNEL, 12, seed=1)


@pytest.fixture(scope="module")
def validation() -> Dataset:
    return tiny.dataset(tiny.CHANNEL, 8, seed=2)


@pytest.fixture(scope="module")
def trained(train: Dataset, validation: Dataset, tmp_path_factory: pytest.TempPathFactory) -> mpl.Trained:
    return mpl.MPL(CONFIG, train, validation, tmp_path_factory.mktemp("mpl")).run()


def same(one: Network, other: Network) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(left, right) for left, right in pairs)


def pseudo_labels(teacher: Network | None, clips: Dataset) -> Labels:
    assert teacher is not None
    return mpl.MPL(CONFIG, clips, clips, Path()).pseudo_labels(teacher)


def changed(data: Dataset, keys: tuple[str, ...]) -> Dataset:
    """The same clips with these labels in reverse order."""
    return data.with_labels({key: data.labels[key][::-1].copy() for key in keys})


def labels(value: float, clips: int) -> dict[str, NDArray[np.float64]]:
    return {key: np.full(clips, BY_KEY[key].from_training(np.array(value))) for key in PSEUDO}


def test_teacher_predicts_pesq_stoi_and_sdi_only(trained: mpl.Trained) -> None:
    assert trained.teacher is not None
    assert trained.teacher.targets == ("pesq_est", "stoi_est", "sdi_est")
    assert trained.student.targets == KEYS
    assert set(trained.teacher_history[0].lcc) == set(PSEUDO)


def test_teacher_does_not_depend_on_s_n_g_labels(
    trained: mpl.Trained, train: Dataset, validation: Dataset, tmp_path: Path
) -> None:
    stage = mpl.MPL(CONFIG, changed(train, ("s_mos", "n_mos", "g_mos")), validation, tmp_path)
    assert trained.teacher is not None and same(stage.train_teacher()[0], trained.teacher)


def test_pseudo_labels_are_the_teachers_scores_within_their_ranges(trained: mpl.Trained, train: Dataset) -> None:
    pseudo = pseudo_labels(trained.teacher, train)
    assert set(pseudo) == set(PSEUDO)
    assert trained.teacher is not None
    predicted = tiny.outputs(trained.teacher, [train.clips[3]]).values[0]
    for column, key in enumerate(PSEUDO):
        target = BY_KEY[key]
        assert np.all((pseudo[key] >= target.low) & (pseudo[key] <= target.high))
        alone = target.clip(float(target.from_training(np.array(float(predicted[column])))))
        assert pseudo[key][3] == pytest.approx(alone, rel=1e-3)


def test_student_does_not_depend_on_true_pesq_stoi_or_sdi(
    trained: mpl.Trained, train: Dataset, validation: Dataset, tmp_path: Path
) -> None:
    pseudo = pseudo_labels(trained.teacher, train)
    other, history = mpl.MPL(CONFIG, changed(train, PSEUDO), validation, tmp_path).train_student(pseudo)
    assert same(other, trained.student)
    assert history == trained.student_history


def test_student_depends_on_pseudo_labels_and_on_s_n_g_labels(
    trained: mpl.Trained, train: Dataset, validation: Dataset, tmp_path: Path
) -> None:
    pseudo = pseudo_labels(trained.teacher, train)
    constant = mpl.MPL(CONFIG, train, validation, tmp_path / "pseudo").train_student(labels(1.0, 12))[0]
    rated = changed(train, ("s_mos",))
    reversed_ratings = mpl.MPL(CONFIG, rated, validation, tmp_path / "real").train_student(pseudo)[0]
    assert not same(constant, trained.student)
    assert not same(reversed_ratings, trained.student)


def test_interrupted_run_gives_the_same_result(
    trained: mpl.Trained, train: Dataset, validation: Dataset, tmp_path: Path
) -> None:
    class KilledError(Exception):
        pass

    def kill(network: str, _epoch: object, _epochs: int) -> None:
        if network == "MTQ-Net":
            raise KilledError

    with pytest.raises(KilledError):
        mpl.MPL(CONFIG, train, validation, tmp_path, kill).run()
    resumed = mpl.MPL(CONFIG, train, validation, tmp_path).run()
    assert resumed.teacher is not None and trained.teacher is not None
    assert same(resumed.teacher, trained.teacher) and same(resumed.student, trained.student)


def test_epochs_are_reported_for_both_networks(train: Dataset, validation: Dataset, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    mpl.MPL(
        CONFIG, train, validation, tmp_path, lambda name, epoch, epochs: seen.append((name, epoch.epoch, epochs))
    ).run()
    assert seen == [("MOSA-Net", 1, 2), ("MOSA-Net", 2, 2), ("MTQ-Net", 1, 2), ("MTQ-Net", 2, 2)]


def test_new_network_depends_on_the_seed_alone() -> None:
    torch.manual_seed(1)
    one = mpl.new_network(CONFIG, KEYS, 5, 3)
    state = torch.get_rng_state()
    two = mpl.new_network(CONFIG, KEYS, 5, 3)
    assert torch.equal(torch.get_rng_state(), state), "the global random numbers are not changed"
    assert same(one, two)
    assert not same(one, mpl.new_network(CONFIG, KEYS, 5, 4))


def test_knowledge_transfer_starts_from_the_teacher_and_has_three_heads(
    trained: mpl.Trained, train: Dataset, validation: Dataset, tmp_path: Path
) -> None:
    config = replace(CONFIG, method="transfer", student=replace(CONFIG.student, epochs=1, frozen_epochs=1))
    result = mpl.MPL(config, train, validation, tmp_path).run()
    assert result.student.targets == tuple(target.key for target in QUEST)
    assert not result.pseudo_labels
    assert result.teacher is not None and trained.teacher is not None and same(result.teacher, trained.teacher)
    teacher = result.teacher.state_dict()
    trunk = {n: weight for n, weight in result.student.state_dict().items() if not n.startswith("heads.")}
    assert trunk and all(torch.equal(weight, teacher[name]) for name, weight in trunk.items())


def test_training_from_scratch_needs_no_teacher(train: Dataset, validation: Dataset, tmp_path: Path) -> None:
    config = replace(CONFIG, method="scratch")
    result = mpl.MPL(config, train, validation, tmp_path).run()
    assert result.teacher is None and not result.pseudo_labels and not result.teacher_history
    assert result.student.targets == tuple(target.key for target in QUEST)
    other = mpl.MPL(config, changed(train, PSEUDO), validation, tmp_path / "other").run()
    assert same(result.student, other.student), "true PESQ, STOI and SDI have no influence"


def test_transfer_gives_the_shared_heads_too(trained: mpl.Trained) -> None:
    net = mpl.new_network(CONFIG, KEYS, tiny.ENCODER_WIDTH, 3)
    drawn = {name: weight.clone() for name, weight in net.state_dict().items()}
    assert trained.teacher is not None
    net.start_from(trained.teacher)
    for name, weight in net.state_dict().items():
        source = trained.teacher.state_dict().get(name, drawn[name])
        assert torch.equal(weight, source), name
    assert not torch.equal(net.state_dict()["heads.pesq_est.weight"], drawn["heads.pesq_est.weight"])
    assert torch.equal(net.state_dict()["heads.s_mos.weight"], drawn["heads.s_mos.weight"])


def test_transfer_without_a_teacher_is_refused(train: Dataset, validation: Dataset, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs MOSA-Net"):
        mpl.MPL(replace(CONFIG, transfer=True), train, validation, tmp_path).train_student({})


EXISTING = ExistingModelsConfig(heads=("distillmos", "dnsmos_p808"))


def with_existing(data: Dataset, known: int | None = None) -> Dataset:
    """Add scores of existing models: like G-MOS, on a narrower scale; unknown after the first `known` clips."""
    scores = 2.0 + 0.4 * data.labels["g_mos"]
    if known is not None:
        scores[known:] = np.nan
    return data.with_labels(dict.fromkeys(EXISTING.heads, scores))


@pytest.fixture(scope="module")
def with_more_teachers(
    train: Dataset, validation: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> mpl.Trained:
    config = replace(CONFIG, existing_models=EXISTING)
    folder = tmp_path_factory.mktemp("existing")
    return mpl.MPL(config, with_existing(train, 7), with_existing(validation), folder).run()


def test_existing_models_are_heads_of_the_teacher_but_not_of_the_result(with_more_teachers: mpl.Trained) -> None:
    assert with_more_teachers.teacher is not None
    assert with_more_teachers.teacher.targets == (*PSEUDO, *EXISTING.heads)
    assert with_more_teachers.student.targets == KEYS
    assert {
        name.split(".")[1] for name in with_more_teachers.student.state_dict() if name.startswith("heads.")
    } == set(KEYS)


def test_known_scores_of_existing_models_replace_the_teachers_predictions(
    with_more_teachers: mpl.Trained, train: Dataset
) -> None:
    partly = with_existing(train, 7)
    pseudo = pseudo_labels(with_more_teachers.teacher, partly)
    alone = pseudo_labels(with_more_teachers.teacher, train)
    for key in EXISTING.heads:
        np.testing.assert_array_equal(pseudo[key][:7], partly.labels[key][:7])
        np.testing.assert_array_equal(pseudo[key][7:], alone[key][7:])


def test_existing_models_change_the_student(with_more_teachers: mpl.Trained, trained: mpl.Trained) -> None:
    assert not same(with_more_teachers.student, trained.student)


def test_network_without_some_heads_predicts_the_same_with_the_others(
    trained: mpl.Trained, train: Dataset
) -> None:
    some = trained.student.only(("g_mos", "stoi_est"))
    whole = tiny.outputs(trained.student, list(train.clips[:2]))
    part = tiny.outputs(some, list(train.clips[:2]))
    torch.testing.assert_close(part.values, whole.values[:, [KEYS.index("g_mos"), KEYS.index("stoi_est")]])
    assert trained.student.targets == KEYS


def test_ensemble_labels_use_predicted_scores_and_weight_clips_by_agreement(train: Dataset) -> None:
    config = replace(CONFIG, existing_models=ExistingModelsConfig(heads=("distillmos",), ensemble=True))
    rng = np.random.default_rng(0)
    sources = {key: rng.uniform(1, 5, len(train.clips)) for key in ensemble.PREDICTORS}
    data = replace(train.with_labels(sources), kinds=[("suppression",)] * len(train.clips))
    found = mpl.ensemble_labels(config, data)
    wanted = ensemble.ensemble_labels(data.labels, data.kinds)
    for key in ("s_mos", "n_mos", "g_mos"):
        np.testing.assert_array_equal(found.labels[key], wanted[key].values)
        np.testing.assert_array_equal(found.weights[key], ensemble.loss_weights(wanted[key].disagreement))
    np.testing.assert_array_equal(found.labels["pesq_est"], train.labels["pesq_est"])
    assert mpl.ensemble_labels(CONFIG, data) is data


def test_ensemble_labels_need_recipes(train: Dataset) -> None:
    config = replace(CONFIG, existing_models=ExistingModelsConfig(heads=("distillmos",), ensemble=True))
    with pytest.raises(UsageError, match="simulated corpus"):
        mpl.ensemble_labels(config, train)


def test_teacher_starts_from_the_network_of_a_model(
    train: Dataset, validation: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = tiny.network(tiny.CHANNEL, KEYS)
    monkeypatch.setattr("mtqnet.training.mpl.export.load_weights", lambda _: SimpleNamespace(network=first))
    started: list[Network] = []

    def fit(network: Network, *_: object) -> list[object]:
        started.append(network)
        return []

    monkeypatch.setattr("mtqnet.training.mpl.trainer.fit", fit)
    mpl.MPL(replace(CONFIG, initial="other"), train, validation, tmp_path).train_teacher()
    own = started[0].state_dict()
    for name, weight in first.state_dict().items():
        assert name not in own or torch.equal(own[name], weight)
