"""Groups are never divided, every recording is used, and the split does not depend on the order of the table."""

from __future__ import annotations

import numpy as np
import pytest

from mtqnet.errors import UsageError
from mtqnet.training import ratings
from mtqnet.training.finetune import MOST_ROUNDS, divide
from mtqnet.training.ratings import divided, folds

TALKERS = [f"talker{number % 13}" for number in range(100)]
UNEVEN = ["big"] * 60 + [f"small{number}" for number in range(12)]


@pytest.mark.parametrize("names", [TALKERS, UNEVEN])
@pytest.mark.parametrize("each", [False, True])
def test_no_group_is_on_both_sides_and_no_recording_is_lost(names: list[str], each: bool) -> None:
    made = divide(names, "talker", (), each)
    for test in made.tests:
        rest = np.setdiff1d(np.arange(len(names)), test)
        learning, testing = ({names[place] for place in places} for places in (rest, test))
        assert learning and testing and not learning & testing


def test_about_a_fifth_is_tested_and_the_rest_is_for_training() -> None:
    made = divide(TALKERS, "talker", (), False)
    assert 0.2 <= len(made.test) / len(TALKERS) < 0.2 + 1 / 13
    assert sorted([*made.final, *made.test]) == list(range(100))


def test_order_of_the_table_does_not_change_the_split() -> None:
    order = np.random.default_rng(0).permutation(len(TALKERS))
    one = divide(TALKERS, "talker", (), False)
    other = divide([TALKERS[place] for place in order], "talker", (), False)
    assert {TALKERS[place] for place in one.test} == {TALKERS[order[place]] for place in other.test}


def test_each_recording_is_tested_once_and_the_final_model_is_trained_on_all() -> None:
    made = divide(["a", "b", "c"] * 5, "talker", (), True)
    assert len(made.tests) == 3
    assert sorted(made.test.tolist()) == list(range(15))
    assert made.final.tolist() == list(range(15))
    assert "each of 3 groups (talker)" in made.description


def test_with_more_groups_than_rounds_several_are_tested_together() -> None:
    made = divide([f"r{n}" for n in range(55)], "", (), True)
    assert len(made.tests) == MOST_ROUNDS
    assert sorted(made.test.tolist()) == list(range(55))
    assert "55 groups (recording) were held out in 10 parts" in made.description


def test_named_groups_are_tested() -> None:
    made = divide(TALKERS, "talker", ("talker3", "talker7"), False)
    assert {TALKERS[place] for place in made.test} == {"talker3", "talker7"}
    assert "whose talker is talker3, talker7" in made.description


def test_description_warns_of_optimistic_results_without_groups() -> None:
    assert "too optimistic" in divide([str(n) for n in range(20)], "", (), False).description
    assert "too optimistic" not in divide(TALKERS, "talker", (), False).description


def test_leave_out_each_and_hold_out_exclude_each_other() -> None:
    with pytest.raises(UsageError, match="already holds out every group"):
        divide(TALKERS, "talker", ("talker3",), True)


@pytest.mark.parametrize(
    ("names", "hold_out", "says"),
    [
        (["one"] * 9, (), "all recordings have the same group"),
        (TALKERS, ("nobody",), "no recording has talker 'nobody'"),
        (["a", "b"], ("a", "b"), "names every group"),
    ],
)
def test_impossible_splits_are_errors(names: list[str], hold_out: tuple[str, ...], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        divide(names, "talker", hold_out, False)


def test_messages_without_a_grouping_column_are_about_recordings() -> None:
    with pytest.raises(UsageError, match=r"name the grouping column with --by.* b\.wav"):
        divide(["a.wav", "b.wav"], "", ("talker1",), False)
    with pytest.raises(UsageError, match=r"the same recording \(a\.wav\)"):
        divide(["a.wav"] * 9, "", (), False)


def test_parts_have_similar_sizes() -> None:
    sizes = [len(part) for part in divided(np.arange(len(TALKERS)), TALKERS, 5)]
    assert sum(sizes) == 100 and max(sizes) - min(sizes) <= 8


def test_folds_do_not_divide_groups() -> None:
    places = np.flatnonzero([name != "talker0" for name in TALKERS])
    parts = folds(places, TALKERS)
    assert len(parts) == ratings.FOLDS
    assert sorted(np.concatenate(parts).tolist()) == places.tolist()
    seen = [{TALKERS[place] for place in part} for part in parts]
    assert sum(map(len, seen)) == len(set.union(*seen))


def test_single_group_is_divided_by_recording() -> None:
    parts = folds(np.arange(4, 11), ["other"] * 4 + ["one"] * 7)
    assert sorted(np.concatenate(parts).tolist()) == list(range(4, 11))
    assert len(parts) == ratings.FOLDS


def test_many_recordings_have_one_validation_part() -> None:
    names = [str(n) for n in range(ratings.ONE_FOLD_FROM)]
    (part,) = folds(np.arange(len(names)), names)
    assert len(part) == pytest.approx(0.2 * len(names), abs=1)
