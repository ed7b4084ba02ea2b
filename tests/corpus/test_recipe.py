"""A recipe is the whole clip: drawn from a seed, written down, rendered anywhere."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from mtqnet.audio.level import NOMINAL_DBOV, active_level
from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.corpus import chain
from mtqnet.corpus.degradations import STEPS
from mtqnet.corpus.degradations.talkers import Babble
from mtqnet.corpus.pool import Pool
from mtqnet.corpus.recipe import Recipe, draw, render
from mtqnet.corpus.sources import SPLITS
from mtqnet.errors import CorpusError, LabelError

RENDER = """
import hashlib, sys
from mtqnet.corpus.recipe import Recipe, render
print(hashlib.sha256(render(Recipe.from_json(sys.stdin.read())).mixture.tobytes()).hexdigest())
"""


@pytest.fixture(scope="session")
def recipes(full_pool: Pool) -> list[Recipe]:
    return [draw(full_pool, "train", clip, seed=1) for clip in range(60)]


def test_json_keeps_every_recipe(recipes: list[Recipe]) -> None:
    assert [Recipe.from_json(recipe.to_json()) for recipe in recipes] == recipes


def test_json_names_steps_and_parameters(recipes: list[Recipe]) -> None:
    record = json.loads(recipes[0].to_json())
    assert set(record) >= {"split", "clip", "scene", "speech", "speaker", "start", "samples", "steps"}
    assert record["steps"][-1]["step"] == "Playback"
    assert "level_dbov" in record["steps"][-1]


def test_same_seed_same_recipe(full_pool: Pool, recipes: list[Recipe]) -> None:
    assert [draw(full_pool, "train", clip, seed=1) for clip in range(60)] == recipes


def test_seed_split_clip_and_attempt_each_change_the_recipe(full_pool: Pool) -> None:
    drawn = [draw(full_pool, split, clip, seed, attempt)
             for split in SPLITS for clip in (0, 1) for seed in (1, 2) for attempt in (0, 1)]  # fmt: skip
    content = {replace(recipe, split="train", clip=0).to_json() for recipe in drawn}
    assert len(content) == len(drawn)


def test_same_recipe_same_clip_bit_for_bit(recipes: list[Recipe]) -> None:
    for recipe in recipes[:8]:
        one, two = render(recipe), render(Recipe.from_json(recipe.to_json()))
        np.testing.assert_array_equal(one.mixture, two.mixture)


def test_other_seed_other_clip(full_pool: Pool) -> None:
    one, two = (render(draw(full_pool, "train", 0, seed)).mixture for seed in (1, 2))
    assert len(one) != len(two) or not np.array_equal(one, two)


def test_recipe_alone_makes_the_clip_in_another_process(recipes: list[Recipe]) -> None:
    import hashlib

    recipe = max(recipes[:20], key=lambda recipe: len(recipe.steps))
    elsewhere = subprocess.run(
        [sys.executable, "-c", RENDER], input=recipe.to_json(), capture_output=True, text=True, check=True
    )
    assert elsewhere.stdout.strip() == hashlib.sha256(render(recipe).mixture.tobytes()).hexdigest()


def test_recipes_are_varied(recipes: list[Recipe]) -> None:
    assert {recipe.scene for recipe in recipes} >= {"reference", "coded", "chain"}
    seen = {type(step).__name__ for recipe in recipes for step in recipe.steps}
    assert len(seen) >= 25
    assert len({recipe.speaker for recipe in recipes}) == 6


def test_reference_recipe_has_no_other_damage_than_its_scene_says(recipes: list[Recipe]) -> None:
    for recipe in recipes:
        names = {type(step).__name__ for step in recipe.steps}
        if recipe.scene == "reference":
            assert names <= {"Mnru", "WhiteNoise", "BandLimit", "Playback"}
        if recipe.scene == "clean":
            assert names == {"Playback"}


def test_every_step_stands_somewhere_in_a_chain() -> None:
    assert chain.names() == set(STEPS)
    for scenes in (chain.SCENES, chain.UNSEEN_SCENES):
        assert sum(chance for chance, _ in scenes.values()) == pytest.approx(1.0)


def test_what_is_held_out_is_heard_in_unseen_clips_alone_and_in_each_of_them(full_pool: Pool) -> None:
    for split in SPLITS:
        for clip in range(150):
            names = {type(step).__name__ for step in draw(full_pool, split, clip, seed=2).steps}
            assert bool(names & chain.HELD_OUT) == (split == "unseen")
    trained = {name for _, links in chain.SCENES.values() for link in links for name in link.kinds}
    assert not trained & chain.HELD_OUT


def test_no_other_coder_or_reducer_is_in_unseen_clips(full_pool: Pool) -> None:
    others = {*chain.CODER.kinds, *chain.REDUCER.kinds}
    for clip in range(150):
        assert not others & {type(step).__name__ for step in draw(full_pool, "unseen", clip, seed=2).steps}


def test_steps_come_in_the_order_of_a_call(full_pool: Pool) -> None:
    order = [chain.ROOM, chain.NOISE, chain.REDUCER, chain.CODER, chain.NETWORK, chain.PLAYBACK]
    for clip in range(100):
        recipe = draw(full_pool, "train", clip, seed=4)
        names = [type(step).__name__ for step in recipe.steps]
        found = [place for name in names for place, link in enumerate(order) if name in link.kinds]
        assert found == sorted(found), names


def test_two_steps_of_one_link_differ(full_pool: Pool) -> None:
    tandems = 0
    for clip in range(300):
        names = [type(s).__name__ for s in draw(full_pool, "train", clip, seed=4).steps]
        coders = [name for name in names if name in chain.CODER.kinds]
        assert len(coders) <= 2 and len(set(coders)) == len(coders)
        tandems += len(coders) == 2
    assert tandems > 5


def test_rooms_are_asked_for_only_where_there_are_any(full_pool: Pool) -> None:
    roomless = Pool(full_pool.speech, full_pool.noise, ())
    drawn = [draw(roomless, "train", clip, seed=1) for clip in range(60)]
    assert "MeasuredRoom" not in {type(step).__name__ for recipe in drawn for step in recipe.steps}


def test_chain_starts_from_speech_at_its_nominal_level(recipes: list[Recipe]) -> None:
    for recipe in recipes[:5]:
        tracks = render(recipe)
        assert len(tracks.clean) == recipe.samples >= 2 * SAMPLE_RATE
        assert active_level(tracks.clean) == pytest.approx(NOMINAL_DBOV, abs=0.1)


def test_stretch_beyond_the_recording_is_refused(recipes: list[Recipe]) -> None:
    with pytest.raises(LabelError, match="silent or ends before"):
        render(replace(recipes[0], start=10**7))


def test_step_of_another_version_is_refused(recipes: list[Recipe]) -> None:
    text = recipes[0].to_json().replace('"Playback"', '"Hologram"')
    with pytest.raises(CorpusError, match="Hologram"):
        Recipe.from_json(text)


def test_babble_is_of_other_talkers_each_once(full_pool: Pool) -> None:
    speaker_of = {item.path: item.group for item in full_pool.speech}
    heard = 0
    for clip in range(60):
        recipe = draw(full_pool, "train", clip, seed=3)
        for step in recipe.steps:
            if isinstance(step, Babble):
                talkers = [speaker_of[file] for file in step.files]
                assert recipe.speaker not in talkers
                assert len(set(talkers)) == len(talkers)
                heard += 1
    assert heard > 0


def test_lonely_talker_is_not_his_own_background(full_pool: Pool) -> None:
    alone = replace(full_pool, speech=tuple(i for i in full_pool.speech if i.group == full_pool.speech[0].group))
    names = {type(s).__name__ for clip in range(150) for s in draw(alone, "train", clip, seed=1).steps}
    assert "RecordedNoise" in names and not names & {"Babble", "CompetingTalker"}
