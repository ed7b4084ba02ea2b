"""Arms on two dozen clips: each runs, is kept, is run once, and sees only the labels that it may see."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from laboratory import ARMS, BASE, SEEDS

from mtqnet.errors import UsageError
from mtqnet.targets import KEYS, OBJECTIVE, QUEST, named
from mtqnet.training.batches import Dataset
from research.experiments import arms
from research.experiments.arms import SPLITS, Lab
from research.experiments.study import Arm

QUEST_KEYS = {target.key for target in QUEST}
SAYS = {"teacher": {t.key for t in OBJECTIVE}, "mpl": set(KEYS), "true": set(KEYS), "noisy": set(KEYS)}


@pytest.mark.parametrize("name", ARMS)
@pytest.mark.parametrize("seed", range(1, SEEDS + 1))
def test_every_arm_scores_every_clip_within_the_targets_ranges(name: str, seed: int, ran: Lab) -> None:
    result = arms.read(ran.result(ARMS[name], seed))
    assert set(result.scores) == set(SPLITS)
    for split, scores in result.scores.items():
        assert set(scores) == SAYS.get(name, QUEST_KEYS)
        for target in named(list(scores)):
            values = scores[target.key]
            assert values.shape == (len(ran.material.test(split).clips),)
            assert np.all((values >= target.low) & (values <= target.high))
    assert result.seconds > 0
    assert bool(result.history) == (name != "ridge")


def test_a_result_is_found_again(ran: Lab) -> None:
    file = ran.result(ARMS["mpl"], 1)
    before = file.stat().st_mtime_ns
    assert arms.run(ran, ARMS["mpl"], 1) == file
    assert file.stat().st_mtime_ns == before
    assert not file.with_suffix(".run").exists()  # checkpoints of a finished run


def test_the_same_run_gives_the_same_scores(ran: Lab) -> None:
    file = ran.result(ARMS["scratch"], 1)
    before = arms.read(file)
    file.unlink()
    again = arms.read(arms.run(ran, ARMS["scratch"], 1))
    for split, scores in before.scores.items():
        for key, values in scores.items():
            np.testing.assert_allclose(again.scores[split][key], values, rtol=1e-4)


def test_seeds_and_arms_differ(ran: Lab) -> None:
    runs = [(name, seed) for name in ("scratch", "transfer", "mpl", "true", "noisy") for seed in (1, 2)]
    said = [arms.read(ran.result(ARMS[name], seed)).scores["test"]["g_mos"] for name, seed in runs]
    assert len({values.tobytes() for values in said}) == len(runs)


def test_same_arm_under_another_name_is_run_once(lab: Lab) -> None:
    arm = ARMS["mpl"]
    assert lab.result(replace(arm, says="other words", against=("true",)), 1) == lab.result(arm, 1)
    assert lab.result(replace(arm, labelled=6), 1) != lab.result(arm, 1)
    assert lab.result(replace(arm, change={"loss": {"delta": 2.0}}), 1) != lab.result(arm, 1)
    assert lab.result(arm, 2) != lab.result(arm, 1)


def seen(lab: Lab, arm: Arm) -> Dataset:
    return arms._training_set(lab, arm, lab.config(arm, 1))


def test_labelled_clips_alone_where_there_are_no_pseudo_labels(ran: Lab) -> None:
    data = seen(ran, ARMS["scratch"])
    assert len(data.clips) == 5 and data.labelled.all()
    assert set(data.labels) == QUEST_KEYS


def test_all_clips_with_pseudo_labels_and_some_with_quest_labels(ran: Lab) -> None:
    data, truth = seen(ran, ARMS["mpl"]), ran.material.dataset("train", BASE)
    assert len(data.clips) == len(truth.clips) and int(data.labelled.sum()) == 5
    _, pseudo, _ = arms.teach(ran, ran.config(ARMS["mpl"], 1))
    for target in OBJECTIVE:
        np.testing.assert_array_equal(data.labels[target.key], pseudo[target.key])
        assert not np.allclose(data.labels[target.key], truth.labels[target.key])


def test_true_labels_stand_in_where_asked(ran: Lab) -> None:
    data, truth = seen(ran, ARMS["true"]), ran.material.dataset("train", BASE)
    for target in OBJECTIVE:
        np.testing.assert_array_equal(data.labels[target.key], truth.labels[target.key])


def test_noisy_raters_speak_of_the_same_clips(ran: Lab) -> None:
    noisy, exact = seen(ran, ARMS["noisy"]), seen(ran, ARMS["mpl"])
    np.testing.assert_array_equal(noisy.labelled, exact.labelled)
    places = exact.labelled
    assert not np.allclose(noisy.labels["s_mos"][places], exact.labels["s_mos"][places])


def test_pseudo_labels_on_labelled_clips_alone(ran: Lab) -> None:
    data = seen(ran, replace(ARMS["mpl"], unlabelled=False))
    assert len(data.clips) == 5 and data.labelled.all() and set(data.labels) == set(KEYS)


def test_peers_are_not_trained(lab: Lab) -> None:
    with pytest.raises(UsageError, match="own code"):
        arms.run(lab, Arm("peer", kind="dnsmos"), 1)
