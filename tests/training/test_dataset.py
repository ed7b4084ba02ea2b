"""Batches: every clip once, labels on the training scale, unknown labels as NaN."""

from __future__ import annotations

import numpy as np
import pytest
import tiny
import torch

from mtqnet.targets import KEYS, QUEST, named
from mtqnet.training.config import FitConfig
from mtqnet.training.dataset import Batch, Dataset, collate, labels_of, plain_places, steps_of, training_batches


def drawn(data: Dataset, seed: int, level_db: float = 0.0, size: int = 4) -> list[Batch]:
    fit = FitConfig(batch=size, level_db=level_db)
    return list(training_batches(data, KEYS, fit, np.random.default_rng(seed)))


def test_columns_become_labels_and_empty_cells_are_unknown() -> None:
    labels = labels_of([{"s_mos": "3.5", "pesq": "2.25"}, {"s_mos": "", "pesq": "1.5"}], KEYS)
    np.testing.assert_array_equal(labels["s_mos"], [3.5, np.nan])
    np.testing.assert_array_equal(labels["pesq_est"], [2.25, 1.5])
    assert np.isnan(labels["sdi_est"]).all()


def test_training_takes_every_clip_once() -> None:
    data = tiny.dataset(tiny.CHANNEL, 11)
    batches = drawn(data, 1)
    assert sorted(len(batch.samples) for batch in batches) == [3, 4, 4]
    seen = sorted(int(n) for batch in batches for n in batch.samples)
    assert seen == sorted(clip.samples for clip in data.clips)


def test_order_is_the_generators() -> None:
    data = tiny.dataset(tiny.CHANNEL, 12)
    one, two, other = ([batch.samples.tolist() for batch in drawn(data, seed)] for seed in (1, 1, 2))
    assert one == two != other


def test_labels_are_on_the_training_scale_beside_their_clips() -> None:
    data = tiny.dataset(tiny.CHANNEL, 7)
    for places in plain_places(data, 3):
        batch = collate(data, places, KEYS)
        for row, place in enumerate(places):
            assert int(batch.samples[row]) == data.clips[place].samples
            for column, target in enumerate(named(KEYS)):
                value = target.from_training(np.array(float(batch.labels[row, column])))
                np.testing.assert_allclose(value, data.labels[target.key][place], rtol=1e-5)


def test_plain_batches_take_every_clip_once() -> None:
    data = tiny.dataset(tiny.CHANNEL, 7)
    places = np.concatenate(list(plain_places(data, 3)))
    assert sorted(places.tolist()) == list(range(7))


def test_unknown_labels_stay_unknown() -> None:
    data = tiny.dataset(tiny.CHANNEL, 3)
    unknown = data.with_labels({"stoi_est": np.full(3, np.nan)})
    labels = collate(unknown, np.arange(3), KEYS).labels
    assert bool(labels[:, KEYS.index("stoi_est")].isnan().all())
    assert int(labels.isnan().sum()) == 3


def test_encoder_frames_come_with_their_counts() -> None:
    data = tiny.dataset(tiny.CHANNEL, 3)
    batch = collate(data, np.arange(3), ())
    assert batch.inputs["encoder_counts"].tolist() == [len(clip.features["encoder"]) for clip in data.clips]


def test_level_is_moved_for_each_clip_by_no_more_than_asked() -> None:
    data = tiny.dataset(tiny.CHANNEL, 8)
    plain, moved = drawn(data, 1, size=8)[0], drawn(data, 1, 6.0, size=8)[0]
    torch.testing.assert_close(plain.inputs["encoder"], moved.inputs["encoder"])
    offsets = []
    for clip in range(8):
        rows = int(plain.samples[clip]) // 160
        shift = (moved.inputs["logmel"] - plain.inputs["logmel"])[clip, :rows]
        assert float(shift.std()) < 1e-5, "one level for the clip"
        offsets.append(10 * float(shift.mean()))
    assert max(map(abs, offsets)) <= 6.0 and np.std(offsets) > 1.0


def partly_labelled(clips: int, labelled: int) -> Dataset:
    """Only the last clips carry S/N/G labels; every clip has a length of its own, and so can be told."""
    data = tiny.dataset(tiny.CHANNEL, clips)
    first = np.arange(clips) < clips - labelled
    return data.with_labels({t.key: np.where(first, np.nan, data.labels[t.key]) for t in QUEST})


def test_clips_with_any_quest_label_count_as_labelled() -> None:
    data = partly_labelled(9, 4)
    assert data.labelled.tolist() == [False] * 5 + [True] * 4
    some = data.with_labels({"n_mos": np.where(np.arange(9) == 0, 3.0, np.nan)})
    assert some.labelled.tolist() == [True, *[False] * 4, *[True] * 4]
    assert not Dataset(data.clips, {}).labelled.any()


def test_so_many_batches_are_drawn_as_an_epoch_has_steps() -> None:
    data, fit = tiny.dataset(tiny.CHANNEL, 10), FitConfig(batch=4, steps=6, level_db=0.0)
    batches = list(training_batches(data, KEYS, fit, np.random.default_rng(1)))
    assert len(batches) == steps_of(data, fit) == 6
    lengths = [int(n) for batch in batches for n in batch.samples]
    often = [lengths.count(clip.samples) for clip in data.clips]
    assert sum(often) == 24 and min(often) >= 2 and max(often) <= 3  # each clip as often as any other


def test_unlabelled_clips_join_each_batch_of_labelled_ones() -> None:
    data, fit = partly_labelled(40, 5), FitConfig(batch=2, steps=7, unlabelled_batch=6, level_db=0.0)
    batches = list(training_batches(data, KEYS, fit, np.random.default_rng(1)))
    assert [len(batch.samples) for batch in batches] == [8] * 7
    for batch in batches:
        known = ~batch.labels[:, KEYS.index("s_mos")].isnan()
        assert int(known.sum()) == 2
        assert not batch.labels[:, KEYS.index("pesq_est")].isnan().any()


@pytest.mark.parametrize("labelled", [0, 12])
def test_batches_are_as_they_come_where_all_clips_are_alike(labelled: int) -> None:
    fit = FitConfig(batch=4, steps=3, unlabelled_batch=2, level_db=0.0)
    batches = list(training_batches(partly_labelled(12, labelled), KEYS, fit, np.random.default_rng(1)))
    assert [len(batch.samples) for batch in batches] == [4, 4, 4]


def test_chosen_clips_keep_their_labels() -> None:
    data = tiny.dataset(tiny.CHANNEL, 6)
    some = data.take(np.array([4, 1]))
    assert [clip.samples for clip in some.clips] == [data.clips[4].samples, data.clips[1].samples]
    assert some.labels["g_mos"].tolist() == [data.labels["g_mos"][4], data.labels["g_mos"][1]]
