"""The method: MOSA-Net is taught true PESQ, STOI and SDI; MTQ-Net learns from what MOSA-Net says of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from numpy.typing import NDArray

from mtqnet.errors import UsageError
from mtqnet.targets import BY_KEY, KEYS, OBJECTIVE, QUEST
from mtqnet.training import mpl
from mtqnet.training.config import PeersConfig
from mtqnet.training.dataset import Dataset
from mtqnet.training.network import Network

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
    return mpl.run(CONFIG, train, validation, tiny.ENCODER_WIDTH, tmp_path_factory.mktemp("mpl"))


def same(one: Network, other: Network) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(left, right) for left, right in pairs)


def changed(data: Dataset, keys: tuple[str, ...]) -> Dataset:
    """The same clips with these labels in reverse order."""
    return data.with_labels({key: data.labels[key][::-1].copy() for key in keys})


def labels(value: float, clips: int) -> dict[str, NDArray[np.float64]]:
    return {key: np.full(clips, BY_KEY[key].from_training(np.array(value))) for key in PSEUDO}


def test_teacher_scores_pesq_stoi_and_sdi_alone(trained: mpl.Trained) -> None:
    assert trained.teacher.targets == ("pesq_est", "stoi_est", "sdi_est")
    assert trained.student.targets == KEYS
    assert set(trained.teacher_history[0].lcc) == set(PSEUDO)


def test_teacher_does_not_hear_of_the_quest_labels(
    trained: mpl.Trained, train: Dataset, validation: Dataset, tmp_path: Path
) -> None:
    other, _ = mpl.teach(
        CONFIG, changed(train, ("s_mos", "n_mos", "g_mos")), validation, tiny.ENCODER_WIDTH, tmp_path
    )
    assert same(other, trained.teacher)


def test_pseudo_labels_are_the_teachers_scores_within_their_ranges(trained: mpl.Trained, train: Dataset) -> None:
    pseudo = mpl.annotate(trained.teacher, train)
    assert set(pseudo) == set(PSEUDO)
    said = tiny.outputs(trained.teacher, [train.clips[3]]).values[0]
    for place, key in enumerate(PSEUDO):
        target = BY_KEY[key]
        assert np.all((pseudo[key] >= target.low) & (pseudo[key] <= target.high))
        alone = target.clip(float(target.from_training(np.array(float(said[place])))))
        assert pseudo[key][3] == pytest.approx(alone, rel=1e-3)


def test_student_does_not_learn_from_true_pesq_stoi_or_sdi(
    trained: mpl.Trained, train: Dataset, validation: Dataset, tmp_path: Path
) -> None:
    pseudo = mpl.annotate(trained.teacher, train)
    other, history = mpl.learn(CONFIG, changed(train, PSEUDO), pseudo, validation, tiny.ENCODER_WIDTH, tmp_path)
    assert same(other, trained.student)
    assert history == trained.student_history


def test_student_learns_from_pseudo_labels_and_from_quest_labels(
    trained: mpl.Trained, train: Dataset, validation: Dataset, tmp_path: Path
) -> None:
    pseudo = mpl.annotate(trained.teacher, train)
    told = mpl.learn(CONFIG, train, labels(1.0, 12), validation, tiny.ENCODER_WIDTH, tmp_path / "pseudo")[0]
    rated = changed(train, ("s_mos",))
    heard = mpl.learn(CONFIG, rated, pseudo, validation, tiny.ENCODER_WIDTH, tmp_path / "real")[0]
    assert not same(told, trained.student)
    assert not same(heard, trained.student)


def test_run_that_was_interrupted_comes_to_the_same_end(
    trained: mpl.Trained, train: Dataset, validation: Dataset, tmp_path: Path
) -> None:
    class KilledError(Exception):
        pass

    def kill(network: str, _epoch: object, _epochs: int) -> None:
        if network == "MTQ-Net":
            raise KilledError

    with pytest.raises(KilledError):
        mpl.run(CONFIG, train, validation, tiny.ENCODER_WIDTH, tmp_path, kill)
    resumed = mpl.run(CONFIG, train, validation, tiny.ENCODER_WIDTH, tmp_path)
    assert same(resumed.teacher, trained.teacher) and same(resumed.student, trained.student)


def test_epochs_are_reported_for_both_networks(train: Dataset, validation: Dataset, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    mpl.run(CONFIG, train, validation, tiny.ENCODER_WIDTH, tmp_path,
            lambda name, epoch, epochs: seen.append((name, epoch.epoch, epochs)))  # fmt: skip
    assert seen == [("MOSA-Net", 1, 2), ("MOSA-Net", 2, 2), ("MTQ-Net", 1, 2), ("MTQ-Net", 2, 2)]


def test_new_network_depends_on_the_seed_alone() -> None:
    torch.manual_seed(1)
    one = mpl.new_network(CONFIG, KEYS, 5, 3)
    state = torch.get_rng_state()
    two = mpl.new_network(CONFIG, KEYS, 5, 3)
    assert torch.equal(torch.get_rng_state(), state), "nobody else's random numbers are touched"
    assert same(one, two)
    assert not same(one, mpl.new_network(CONFIG, KEYS, 5, 4))


def test_transfer_starts_from_the_teacher(
    trained: mpl.Trained, train: Dataset, validation: Dataset, tmp_path: Path
) -> None:
    moved = replace(CONFIG, transfer=True, student=replace(CONFIG.student, epochs=1, frozen_epochs=1))
    quest = tuple(target.key for target in QUEST)
    net, _ = mpl.student(
        moved, quest, train, validation, tiny.ENCODER_WIDTH, tmp_path / "quest", teacher=trained.teacher
    )
    assert net.targets == quest
    taught = trained.teacher.state_dict()
    trunk = {name: weight for name, weight in net.state_dict().items() if not name.startswith("heads.")}
    assert trunk and all(torch.equal(weight, taught[name]) for name, weight in trunk.items())


def test_transfer_gives_the_shared_heads_too(trained: mpl.Trained) -> None:
    net = mpl.new_network(CONFIG, KEYS, tiny.ENCODER_WIDTH, 3)
    drawn = {name: weight.clone() for name, weight in net.state_dict().items()}
    net.start_from(trained.teacher)
    for name, weight in net.state_dict().items():
        source = trained.teacher.state_dict().get(name, drawn[name])
        assert torch.equal(weight, source), name
    assert not torch.equal(net.state_dict()["heads.pesq_est.weight"], drawn["heads.pesq_est.weight"])
    assert torch.equal(net.state_dict()["heads.s_mos.weight"], drawn["heads.s_mos.weight"])


def test_transfer_without_a_teacher_is_refused(train: Dataset, validation: Dataset, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs a teacher"):
        mpl.student(replace(CONFIG, transfer=True), KEYS, train, validation, tiny.ENCODER_WIDTH, tmp_path)


PEERS = PeersConfig(heads=("distillmos", "dnsmos_p808"), consensus=("distillmos",))


def with_peers(data: Dataset, known: int | None = None) -> Dataset:
    """The same clips, as a peer hears them: like G-MOS, on a narrower scale; unknown beyond the first `known`."""
    said = 2.0 + 0.4 * data.labels["g_mos"]
    if known is not None:
        said[known:] = np.nan
    return data.with_labels(dict.fromkeys(PEERS.heads, said))


@pytest.fixture(scope="module")
def taught_by_peers(train: Dataset, validation: Dataset, tmp_path_factory: pytest.TempPathFactory) -> mpl.Trained:
    config = replace(CONFIG, peers=PEERS)
    folder = tmp_path_factory.mktemp("peers")
    return mpl.run(config, with_peers(train, 7), with_peers(validation), tiny.ENCODER_WIDTH, folder)


def test_peers_are_heads_of_the_teacher_and_leave_no_head_behind(taught_by_peers: mpl.Trained) -> None:
    assert taught_by_peers.teacher.targets == (*PSEUDO, *PEERS.heads)
    assert taught_by_peers.student.targets == KEYS
    assert {
        name.split(".")[1] for name in taught_by_peers.student.state_dict() if name.startswith("heads.")
    } == set(KEYS)


def test_a_peers_own_word_goes_before_the_teachers(taught_by_peers: mpl.Trained, train: Dataset) -> None:
    heard = with_peers(train, 7)
    pseudo = mpl.annotate(taught_by_peers.teacher, heard)
    alone = mpl.annotate(taught_by_peers.teacher, train)
    for key in PEERS.heads:
        np.testing.assert_array_equal(pseudo[key][:7], heard.labels[key][:7])
        np.testing.assert_array_equal(pseudo[key][7:], alone[key][7:])


def test_peers_change_what_the_student_learns(taught_by_peers: mpl.Trained, trained: mpl.Trained) -> None:
    assert not same(taught_by_peers.student, trained.student)


def test_a_network_without_some_heads_says_the_same_of_the_others(trained: mpl.Trained, train: Dataset) -> None:
    some = trained.student.only(("g_mos", "stoi_est"))
    whole = tiny.outputs(trained.student, list(train.clips[:2]))
    part = tiny.outputs(some, list(train.clips[:2]))
    torch.testing.assert_close(part.values, whole.values[:, [KEYS.index("g_mos"), KEYS.index("stoi_est")]])
    assert trained.student.targets == KEYS
