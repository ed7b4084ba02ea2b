"""The data of each experiment: nested selections of labelled clips, votes of raters, rated sets, stored features."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from laboratory import BASE

from mtqnet.errors import CorpusError
from mtqnet.targets import KEYS, QUEST
from mtqnet.training.batches import Dataset
from research.experiments import material
from research.experiments.arms import Lab
from research.experiments.material import TESTS, Material


@pytest.fixture(scope="module")
def train(lab: Lab) -> Dataset:
    return lab.material.dataset("train", BASE)


def test_fewer_labels_are_among_the_more_and_another_seed_shows_others(train: Dataset) -> None:
    few, more, every = (set(material.shown(train, n, 1).tolist()) for n in (3, 7, 0))
    assert few < more < every and len(few) == 3 and len(every) == len(train.clips)
    assert few != set(material.shown(train, 3, 2).tolist())


def test_hidden_labels_are_unknown_and_shown_ones_untouched(train: Dataset) -> None:
    places = material.shown(train, 4, 1)
    labels = material.hidden(train, places)
    assert set(labels) == {target.key for target in QUEST}
    for key, values in labels.items():
        np.testing.assert_array_equal(np.flatnonzero(~np.isnan(values)), places)
        np.testing.assert_array_equal(values[places], train.labels[key][places])


def test_votes_are_whole_numbers_around_the_truth() -> None:
    truth = {target.key: np.full(4000, 3.3) for target in QUEST}
    voted = material.noisy(truth, 1)
    for values in voted.values():
        np.testing.assert_allclose(values * material.VOTES, np.round(values * material.VOTES))
        assert values.min() >= 1 and values.max() <= 5
        assert abs(values.mean() - 3.3) < 0.1  # careless votes have a mean of 3
        assert 0.4 < values.std() < 0.7
    assert not np.array_equal(voted["s_mos"], material.noisy(truth, 2)["s_mos"])


def test_some_votes_are_careless() -> None:
    """For a true rating of 5, attentive listeners do not vote 1 or 2."""
    truth = {target.key: np.full(4000, 5.0) for target in QUEST}
    assert np.mean(material.noisy(truth, 1)["g_mos"] < 4) > 0.1


def test_unknown_labels_stay_unknown() -> None:
    truth = {target.key: np.array([np.nan, 2.0]) for target in QUEST}
    assert np.isnan(material.noisy(truth, 1)["s_mos"]).tolist() == [True, False]


@pytest.mark.parametrize("name", ["train", "validation", *TESTS])
def test_every_split_and_rated_set_has_features_and_truth(name: str, lab: Lab) -> None:
    data = lab.material.dataset(name, BASE)
    assert len(data.clips) == len(lab.material.test(name).clips) > 0
    assert all(set(clip.features) == {"logmel", "encoder"} for clip in data.clips)
    targets = {"mushra": ("g_mos",), "csp835": QUEST_KEYS, "noizeus": QUEST_KEYS}.get(name, KEYS)
    assert tuple(data.labels) == targets
    assert all(values.shape == (len(data.clips),) for values in data.labels.values())


QUEST_KEYS = tuple(target.key for target in QUEST)


def test_arms_with_fewer_inputs_read_the_same_features(lab: Lab) -> None:
    both = lab.material.dataset("test", BASE)
    alone = lab.material.dataset("test", replace(BASE, network=replace(BASE.network, front_ends=("encoder",))))
    assert set(alone.clips[0].features) == {"encoder"}
    assert alone.clips[0].features["encoder"] is both.clips[0].features["encoder"]


def test_other_corpora_are_other_experiments(lab: Lab) -> None:
    assert len(lab.corpus_digest) == 16
    assert lab.material.digest() == lab.corpus_digest
    other = replace(lab, corpus_digest="0" * 16)
    from laboratory import ARMS

    assert lab.result(ARMS["mpl"], 1) != other.result(ARMS["mpl"], 1)


def test_missing_rated_set_states_where_it_was_looked_for(lab: Lab) -> None:
    lost = Material(lab.material.corpus, lab.material.data / "elsewhere", lab.material.store)
    with pytest.raises(CorpusError, match="--data"):
        lost.test("csp835")
    with pytest.raises(CorpusError, match="no clips of the split"):
        lost.test("tets")
