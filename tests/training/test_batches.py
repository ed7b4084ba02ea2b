"""Batches: every clip once, labels on the training scale, unknown labels as NaN."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch

from mtqnet.targets import KEYS, QUEST, named
from mtqnet.training.batches import (
    Batch,
    Dataset,
    collate,
    evaluation_indices,
    steps_of,
    training_batches,
)
from mtqnet.training.config import FitConfig
from mtqnet.training.data import labels_of


def epoch_of(data: Dataset, seed: int, level_db: float = 0.0, size: int = 4) -> list[Batch]:
    fit = FitConfig(batch=size, level_db=level_db)
    return list(training_batches(data, KEYS, fit, np.random.default_rng(seed)))


def test_columns_become_labels_and_empty_cells_are_unknown() -> None:
    labels = labels_of([{"s_mos": "3.5", "pesq": "2.25"}, {"s_mos": "", "pesq": "1.5"}], KEYS)
    np.testing.assert_array_equal(labels["s_mos"], [3.5, np.nan])
    np.testing.assert_array_equal(labels["pesq_est"], [2.25, 1.5])
    assert np.isnan(labels["sdi_est"]).all()


def test_training_takes_every_clip_once() -> None:
    data = tiny.dataset(tiny.CHANNEL, 11)
    batches = epoch_of(data, 1)
    assert sorted(len(batch.samples) for batch in batches) == [3, 4, 4]
    seen = sorted(int(n) for batch in batches for n in batch.samples)
    assert seen == sorted(clip.samples for clip in data.clips)


def test_order_depends_on_the_seed() -> None:
    data = tiny.dataset(tiny.CHANNEL, 12)
    one, two, other = ([batch.samples.tolist() for batch in epoch_of(data, seed)] for seed in (1, 1, 2))
    assert one == two != other


def test_labels_are_on_the_training_scale_and_in_the_order_of_the_clips() -> None:
    data = tiny.dataset(tiny.CHANNEL, 7)
    for indices in evaluation_indices(data, 3):
        batch = collate(data, indices, KEYS)
        for row, index in enumerate(indices):
            assert int(batch.samples[row]) == data.clips[index].samples
            for column, target in enumerate(named(KEYS)):
                value = target.from_training(np.array(float(batch.labels[row, column])))
                np.testing.assert_allclose(value, data.labels[target.key][index], rtol=1e-5)


def test_evaluation_contains_every_clip_once() -> None:
    data = tiny.dataset(tiny.CHANNEL, 7)
    indices = np.concatenate(list(evaluation_indices(data, 3)))
    assert sorted(indices.tolist()) == list(range(7))


def test_unknown_labels_are_nan() -> None:
    data = tiny.dataset(tiny.CHANNEL, 3)
    unknown = data.with_labels({"stoi_est": np.full(3, np.nan)})
    labels = collate(unknown, np.arange(3), KEYS).labels
    assert bool(labels[:, KEYS.index("stoi_est")].isnan().all())
    assert int(labels.isnan().sum()) == 3


def test_encoder_frames_come_with_their_counts() -> None:
    data = tiny.dataset(tiny.CHANNEL, 3)
    batch = collate(data, np.arange(3), ())
    assert batch.inputs["encoder_counts"].tolist() == [len(clip.features["encoder"]) for clip in data.clips]


def test_level_of_each_clip_changes_by_at_most_the_given_amount() -> None:
    data = tiny.dataset(tiny.CHANNEL, 8)
    plain, changed = epoch_of(data, 1, size=8)[0], epoch_of(data, 1, 6.0, size=8)[0]
    torch.testing.assert_close(plain.inputs["encoder"], changed.inputs["encoder"])
    offsets = []
    for clip in range(8):
        rows = int(plain.samples[clip]) // 160
        shift = (changed.inputs["logmel"] - plain.inputs["logmel"])[clip, :rows]
        assert float(shift.std()) < 1e-5, "one level for the clip"
        offsets.append(10 * float(shift.mean()))
    assert max(map(abs, offsets)) <= 6.0 and np.std(offsets) > 1.0


def partly_labelled(clips: int, labelled: int) -> Dataset:
    """Only the last clips have S/N/G labels; every clip has another length, which identifies it."""
    data = tiny.dataset(tiny.CHANNEL, clips)
    first = np.arange(clips) < clips - labelled
    return data.with_labels({t.key: np.where(first, np.nan, data.labels[t.key]) for t in QUEST})


def test_clips_with_any_quest_label_count_as_labelled() -> None:
    data = partly_labelled(9, 4)
    assert data.labelled.tolist() == [False] * 5 + [True] * 4
    some = data.with_labels({"n_mos": np.where(np.arange(9) == 0, 3.0, np.nan)})
    assert some.labelled.tolist() == [True, *[False] * 4, *[True] * 4]
    assert not Dataset(data.clips, {}).labelled.any()


def test_steps_is_the_number_of_batches_of_an_epoch() -> None:
    data, fit = tiny.dataset(tiny.CHANNEL, 10), FitConfig(batch=4, steps=6, level_db=0.0)
    batches = list(training_batches(data, KEYS, fit, np.random.default_rng(1)))
    assert len(batches) == steps_of(data, fit) == 6
    lengths = [int(n) for batch in batches for n in batch.samples]
    often = [lengths.count(clip.samples) for clip in data.clips]
    assert sum(often) == 24 and min(often) >= 2 and max(often) <= 3  # each clip as often as any other


def test_unlabelled_clips_are_added_to_each_batch_of_labelled_ones() -> None:
    data, fit = partly_labelled(40, 5), FitConfig(batch=2, steps=7, unlabelled_batch=6, level_db=0.0)
    batches = list(training_batches(data, KEYS, fit, np.random.default_rng(1)))
    assert [len(batch.samples) for batch in batches] == [8] * 7
    for batch in batches:
        known = ~batch.labels[:, KEYS.index("s_mos")].isnan()
        assert int(known.sum()) == 2
        assert not batch.labels[:, KEYS.index("pesq_est")].isnan().any()


@pytest.mark.parametrize("labelled", [0, 12])
def test_unlabelled_batch_has_no_effect_if_all_or_no_clips_are_labelled(labelled: int) -> None:
    fit = FitConfig(batch=4, steps=3, unlabelled_batch=2, level_db=0.0)
    batches = list(training_batches(partly_labelled(12, labelled), KEYS, fit, np.random.default_rng(1)))
    assert [len(batch.samples) for batch in batches] == [4, 4, 4]


def test_selected_clips_keep_their_labels_and_weights() -> None:
    data = replace(tiny.dataset(tiny.CHANNEL, 6), weights={"g_mos": np.arange(6.0)})
    some = data.take(np.array([4, 1]))
    assert some.weights["g_mos"].tolist() == [4.0, 1.0]
    batch = collate(some, np.arange(2), ("s_mos", "g_mos"))
    assert batch.weights.tolist() == [[1.0, 4.0], [1.0, 1.0]]
    assert [clip.samples for clip in some.clips] == [data.clips[4].samples, data.clips[1].samples]
    assert some.labels["g_mos"].tolist() == [data.labels["g_mos"][4], data.labels["g_mos"][1]]


@pytest.mark.parametrize("world", [2, 9])
def test_processes_divide_every_batch_and_none_is_idle(world: int) -> None:
    """Nine processes for batches of five clips: some get a clip that another one has too."""
    data, fit = tiny.dataset(tiny.CHANNEL, 12), FitConfig(batch=5, level_db=0.0)
    whole = list(training_batches(data, KEYS, fit, np.random.default_rng(1)))
    parts = [
        list(training_batches(data, KEYS, fit, np.random.default_rng(1), False, rank, world))
        for rank in range(world)
    ]
    for number, batch in enumerate(whole):
        own = [part[number].samples.tolist() for part in parts]
        assert all(own)
        assert sorted({length for part in own for length in part}) == sorted(batch.samples.tolist())
        if world == 2:
            assert own == [batch.samples[0::2].tolist(), batch.samples[1::2].tolist()]


def test_clips_of_the_same_recording_come_in_pairs_and_every_clip_once() -> None:
    data = tiny.dataset(tiny.CHANNEL, 24)
    speech = np.array([n // 3 for n in range(24)], dtype=np.int64)  # eight recordings, three clips each
    fit = FitConfig(batch=4, level_db=0.0)
    together = 0
    batches = list(training_batches(replace(data, speech=speech), KEYS, fit, np.random.default_rng(2), pairs=True))
    for batch in batches:
        assert batch.speech is not None
        numbers = batch.speech.tolist()
        together += len(numbers) - len(set(numbers))
    seen = sorted(int(n) for batch in batches for n in batch.samples)
    assert seen == sorted(clip.samples for clip in data.clips)
    assert together >= 6, "most of the eight pairs are in one batch"


def test_a_subset_keeps_the_recordings_of_its_clips() -> None:
    data = replace(tiny.dataset(tiny.CHANNEL, 4), speech=np.array([3, 1, 3, 2], dtype=np.int64))
    taken = data.take(np.array([2, 1])).speech
    assert taken is not None and taken.tolist() == [3, 1]
