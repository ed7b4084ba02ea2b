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
from mtqnet.corpus import recipe as chain
from mtqnet.corpus.degradations import STEPS
from mtqnet.corpus.degradations.noise import Babble
from mtqnet.corpus.describe import group, is_ordinary
from mtqnet.corpus.recipe import Recipe, draw, kinds, render
from mtqnet.corpus.sources import SPLITS, Pool
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
    seen = {name for recipe in recipes for name in kinds(recipe.steps)}
    assert len(seen) >= 25
    assert len({recipe.speaker for recipe in recipes}) == 6


def test_reference_recipe_has_no_other_degradation_than_its_scene_says(recipes: list[Recipe]) -> None:
    for recipe in recipes:
        names = {type(step).__name__ for step in recipe.steps}
        if recipe.scene == "reference":
            assert names <= {"Mnru", "WhiteNoise", "BandLimit", "Playback"}
        if recipe.scene == "clean":
            assert names == {"Playback"}


def test_every_step_stands_somewhere_in_a_chain() -> None:
    assert chain.names() == set(STEPS)
    for scenes in (chain.SCENES, *chain.UNSEEN_SCENES.values()):
        assert sum(chance for chance, _ in scenes.values()) == pytest.approx(1.0)


def test_what_is_held_out_is_heard_in_unseen_clips_alone_and_in_each_of_them(full_pool: Pool) -> None:
    for split in SPLITS:
        for clip in range(150):
            names = set(kinds(draw(full_pool, split, clip, seed=2).steps))
            for held_out, tools in chain.HELD_OUT.items():
                assert bool(names & tools) == (split == held_out)
    for tools in chain.HELD_OUT.values():
        assert not chain.names("train", "validation", "test") & tools


def test_no_other_coder_or_reducer_is_in_unseen_clips(full_pool: Pool) -> None:
    for split, tools in chain.HELD_OUT.items():
        others = {name for name in STEPS if group(name) != "other"} - tools
        for clip in range(100):
            assert not others & set(kinds(draw(full_pool, split, clip, seed=2).steps))


def test_steps_come_in_the_order_of_a_call(full_pool: Pool) -> None:
    order = [chain.ROOM, chain.NOISE, chain.SUPPRESSOR, chain.CODEC, chain.NETWORK, chain.PLAYBACK]
    for clip in range(100):
        recipe = draw(full_pool, "train", clip, seed=4)
        names = [type(step).__name__ for step in recipe.steps if recipe.scene == "chain"]
        found = [place for name in names for place, link in enumerate(order) if name in link.kinds]
        assert found == sorted(found), names


def test_two_steps_of_one_link_differ(full_pool: Pool) -> None:
    tandems = 0
    for clip in range(300):
        names = [type(s).__name__ for s in draw(full_pool, "train", clip, seed=4).steps]
        coders = [name for name in names if name in chain.CODEC.kinds]
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


def test_babble_is_of_other_speakers_each_once(full_pool: Pool) -> None:
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


def test_lonely_speaker_is_not_his_own_background(full_pool: Pool) -> None:
    alone = replace(full_pool, speech=tuple(i for i in full_pool.speech if i.group == full_pool.speech[0].group))
    names = {type(s).__name__ for clip in range(150) for s in draw(alone, "train", clip, seed=1).steps}
    assert "RecordedNoise" in names and not names & {"Babble", "CompetingTalker"}


def test_ordinary_case_is_an_eighth_of_the_clips(full_pool: Pool) -> None:
    """In 12 % of the clips, one suppressor at full strength processes speech in usual noise, without other steps."""
    drawn = [draw(full_pool, "train", clip, seed=6) for clip in range(1500)]
    ordinary = [recipe for recipe in drawn if is_ordinary(json.loads(recipe.to_json())["steps"])]
    assert len(ordinary) / len(drawn) >= 0.12
    suppressed = [recipe for recipe in drawn if recipe.scene == "suppressed"]
    assert {recipe.clip for recipe in suppressed} <= {recipe.clip for recipe in ordinary}
    assert {kinds(recipe.steps)[-2] for recipe in suppressed} == set(chain.SUPPRESSOR.kinds)
    low, high = chain.ORDINARY_SNR_DB
    for recipe in suppressed:
        assert all(low <= step.snr_db <= high for step in recipe.steps if hasattr(step, "snr_db"))


def test_what_is_not_one_suppressor_at_full_strength_is_not_ordinary() -> None:
    noise, full, playback = {"step": "WhiteNoise"}, {"step": "Dtln", "wet": 1.0}, {"step": "Playback"}
    assert is_ordinary([noise, full, playback]) and is_ordinary([full])
    assert not is_ordinary([noise, {"step": "Dtln", "wet": 0.9}, playback])
    assert not is_ordinary([noise, full, {"step": "Opus"}, playback])
    assert not is_ordinary([noise, {"step": "Opus"}, full, playback])
    assert not is_ordinary([noise, full, {"step": "RnNoise", "wet": 1.0, "passes": 1}, playback])
    assert not is_ordinary([{"step": "Splice", "steps": [full]}, playback])
    assert not is_ordinary([noise, playback]) and not is_ordinary([])


def test_two_suppressors_in_series_differ(full_pool: Pool) -> None:
    series = [r for clip in range(400) if (r := draw(full_pool, "train", clip, seed=8)).scene == "series"]
    assert series
    for recipe in series:
        names = [name for name in kinds(recipe.steps) if group(name) == "suppressor"]
        assert len(names) == len(set(names)) == 2


def test_kinds_that_are_left_out_are_never_drawn(full_pool: Pool) -> None:
    left_out = ("LyraV2", "Siren", "DeepFilterNet")
    pool = replace(full_pool, without=left_out)
    drawn = {name for clip in range(400) for name in kinds(draw(pool, "train", clip, seed=3).steps)}
    assert not drawn & set(left_out)
    assert {"OpusNeural", "Resynthesis"} <= drawn


def test_splices_are_written_down_with_place_and_kind(full_pool: Pool) -> None:
    spliced = [r for clip in range(400) if (r := draw(full_pool, "train", clip, seed=4)).scene == "spliced"]
    places = [
        step for recipe in spliced for step in json.loads(recipe.to_json())["steps"] if step["step"] == "Splice"
    ]
    assert len(places) == len(spliced) > 10
    assert {place["kind"] for place in places} == {"good", "degraded"}
    for recipe, place in zip(spliced, places, strict=True):
        assert 0 <= place["start_s"] < place["end_s"] <= recipe.samples / SAMPLE_RATE + 1e-3
        assert 0.5 <= place["end_s"] - place["start_s"] <= 4.0
        assert Recipe.from_json(recipe.to_json()) == recipe
