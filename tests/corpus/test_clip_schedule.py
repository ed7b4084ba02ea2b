"""Limits of clips per recording: the schedule, its growth, and the error when recordings are too few."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from mtqnet.corpus import recipe
from mtqnet.corpus.sources import USUAL_LIMIT, Item, Pool, Schedule, noise_weights, resolve
from mtqnet.corpus.table import flat
from mtqnet.errors import CorpusError


def items(kind: str, groups: int, each: int, seconds: float = 8.0) -> tuple[Item, ...]:
    return tuple(Item(f"{kind}/{g}/{n}.flac", f"{kind}{g}", seconds) for g in range(groups) for n in range(each))


POOL = Pool(items("s", 6, 2), items("n", 5, 1), (), clips_per_sentence=4, clips_per_noise=12)


def drawn(count: int, pool: Pool = POOL, attempt: int = 0) -> list[recipe.Recipe]:
    return [recipe.draw(pool, "train", clip, 3, attempt) for clip in range(count)]


def noise_of(clip: recipe.Recipe) -> list[str]:
    return [step["file"] for step in flat(recipe_steps(clip)) if step["step"] in recipe.NOISE_STEPS]


def recipe_steps(clip: recipe.Recipe) -> list[dict[str, object]]:
    steps: list[dict[str, object]] = json.loads(clip.to_json())["steps"]
    return steps


def test_no_sentence_is_used_more_often_than_allowed_and_all_are_used() -> None:
    uses = Counter(clip.speech for clip in drawn(48))
    assert uses == dict.fromkeys((item.path for item in POOL.speech), 4)
    with pytest.raises(CorpusError, match="as often as the limit allows"):
        recipe.draw(POOL, "train", 48, 3)


def test_no_noise_recording_is_used_more_often_than_allowed() -> None:
    uses = Counter(path for clip in drawn(40) for path in noise_of(clip))
    assert uses and max(uses.values()) <= 12


def test_the_counted_noise_recordings_are_those_that_the_steps_use() -> None:
    for number, clip in enumerate(drawn(40)):
        assert recipe.noise_files(POOL, "train", number, 3) == len(noise_of(clip))


def test_another_attempt_keeps_recordings_and_kinds_and_changes_parameters() -> None:
    for first, second in zip(drawn(20), drawn(20, attempt=1), strict=True):
        assert (first.speech, noise_of(first), recipe.kinds(first.steps)) == (
            second.speech, noise_of(second), recipe.kinds(second.steps),
        )  # fmt: skip
    assert drawn(20) != drawn(20, attempt=1)


def test_clips_do_not_depend_on_how_many_follow_or_on_the_order_of_drawing() -> None:
    ahead = recipe.draw(POOL, "train", 30, 3)
    recipe.schedule.cache_clear()
    assert drawn(31)[30] == ahead


def test_speakers_take_turns_and_a_group_of_many_people_counts_as_many() -> None:
    speech = (*items("a", 1, 100), *(replace(item, speakers=9) for item in items("b", 1, 100)))
    schedule = Schedule(Pool(speech, items("n", 1, 1), ()), lambda _: 0, [0])
    share = np.mean([schedule.clip(number)[0].group == "b0" for number in range(1000)])
    assert 0.86 < share < 0.94


def test_noise_is_weighted_by_length_within_limits() -> None:
    assert noise_weights((Item("a", "a", 1.0), Item("b", "b", 30.0), Item("c1", "c", 50.0), Item("c2", "c", 50.0))) == {
        "a": 5.0, "b": 30.0, "c": 60.0,
    }  # fmt: skip


@pytest.mark.parametrize(("clips", "limit"), [(200, USUAL_LIMIT), (201, None)])
def test_the_usual_limit_contains_where_the_recordings_allow_it(clips: int, limit: int | None) -> None:
    assert resolve(None, clips, 10, "recordings") == limit


def test_a_limit_that_cannot_be_met_names_the_clips_that_are_possible() -> None:
    assert resolve(5, 50, 10, "recordings") == 5
    with pytest.raises(CorpusError, match=r"at most 50 clips at 5 clips each, but 51 are needed.*at least 6"):
        resolve(5, 51, 10, "recordings")
