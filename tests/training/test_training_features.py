"""Features of clips are computed once, stored, and the same as for scoring."""

from __future__ import annotations

import mmap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import tiny
from numpy.typing import NDArray

from mtqnet.audio.features import log_mel, spectrum
from mtqnet.audio.reading import Excerpt
from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.training import features
from mtqnet.training.config import EncoderConfig
from mtqnet.training.features import FrontEnd

Samples = NDArray[np.float32]

PLAIN = FrontEnd.of_config(tiny.config(tiny.PLAIN))


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory, voice: Callable[..., Samples]) -> list[Excerpt]:
    folder = tmp_path_factory.mktemp("clips")
    made = [folder / f"{number}.wav" for number in range(5)]
    for number, file in enumerate(made):
        sf.write(file, voice(0.5 + 0.1 * number, seed=number), SAMPLE_RATE, "FLOAT")
    return [Excerpt(file) for file in made]


def test_front_end_has_the_features_of_the_network() -> None:
    plain = FrontEnd.of_config(tiny.config(tiny.PLAIN))
    assert plain == FrontEnd(("logmel",), False, None)
    other = FrontEnd.of_config(tiny.config(tiny.SPECTRUM))
    assert other == FrontEnd(("spectrum",), True, EncoderConfig())


def test_another_front_end_has_another_folder() -> None:
    base = FrontEnd.of_config(tiny.config(tiny.CHANNEL))
    others = [
        PLAIN,
        replace(base, peak_normalise=True),
        replace(base, encoder=EncoderConfig(layers=(1,))),
        replace(base, features=("spectrum",)),
    ]
    assert len({front_end.key for front_end in (base, *others)}) == 5
    assert replace(base).key == base.key


def test_features_are_in_the_order_of_the_clips_and_computed_once(
    clips: list[Excerpt], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "CHUNK", 2)
    seen: list[tuple[int, int]] = []
    first = features.compute(PLAIN, clips, tmp_path, "train", lambda done, total: seen.append((done, total)))
    assert [clip.samples for clip in first] == [sf.info(clip.path).frames for clip in clips]
    assert seen[0] == (0, 5) and seen[-1] == (5, 5)
    np.testing.assert_array_equal(
        first[4].features["logmel"], log_mel(sf.read(clips[4].path, dtype="float32")[0]).astype(np.float16)
    )
    monkeypatch.setattr(features, "of_clip", None)  # computing again would fail
    again = features.compute(PLAIN, clips, tmp_path, "train")
    for one, two in zip(first, again, strict=True):
        assert one.samples == two.samples
        np.testing.assert_array_equal(one.features["logmel"], two.features["logmel"])
    assert not list(tmp_path.rglob("*.tmp*"))


def test_peak_normalisation_changes_the_features(clips: list[Excerpt]) -> None:
    samples = sf.read(clips[0].path, dtype="float32")[0]
    clip = features.of_clip(FrontEnd(("spectrum",), True, None), clips[0], None)
    expected = spectrum(samples) / np.abs(samples).max()
    np.testing.assert_allclose(clip.features["spectrum"], expected, rtol=2e-3, atol=2e-3)


def test_encoder_frames_are_stored_with_the_features(clips: list[Excerpt]) -> None:
    front_end = FrontEnd.of_config(tiny.config(tiny.CHANNEL))
    clip = features.of_clip(front_end, clips[2], tiny.whisper())
    rows = clip.samples // 160
    assert clip.features["logmel"].shape == (rows, 80)
    assert clip.features["encoder"].shape == (-(-rows // 4), tiny.whisper().width)
    assert np.isfinite(clip.features["encoder"]).all()


def test_features_of_other_recordings_are_computed_again(clips: list[Excerpt], tmp_path: Path) -> None:
    """A corpus that was extended or built again must not get the features of the earlier clips."""
    few = features.compute(PLAIN, clips[:1], tmp_path, "train", jobs=1)
    more = features.compute(PLAIN, clips, tmp_path, "train", jobs=1)
    assert (len(few), len(more)) == (1, len(clips))
    turned = features.compute(PLAIN, clips[::-1], tmp_path, "train", jobs=1)
    assert [clip.samples for clip in turned] == [clip.samples for clip in more][::-1]


def test_part_of_an_audio_file_is_a_clip(tmp_path: Path, voice: Callable[..., Samples]) -> None:
    one, two = voice(0.6, seed=1), voice(0.8, seed=2)
    shard = tmp_path / "shard.flac"
    sf.write(shard, np.concatenate([one, two]), SAMPLE_RATE, "PCM_24")
    made = features.compute(
        PLAIN, [Excerpt(shard, len(one), len(two)), Excerpt(shard, 0, len(one))], tmp_path, "t"
    )
    assert [clip.samples for clip in made] == [len(two), len(one)]
    np.testing.assert_allclose(made[0].features["logmel"], log_mel(two), atol=2e-2)


def test_stored_features_are_memory_mapped(clips: list[Excerpt], tmp_path: Path) -> None:
    computed = features.compute(PLAIN, clips, tmp_path, "train")
    roots = set()
    for clip in computed:
        assert not clip.features["logmel"].flags.writeable
        root: object = clip.features["logmel"]
        while isinstance(root, np.ndarray):
            root = root.base
        assert isinstance(root, mmap.mmap)
        roots.add(id(root))
    assert len(roots) == 1, "one mapping per chunk and view: their number per process is limited"


def test_chunk_that_another_process_wrote_meanwhile_is_kept(tmp_path: Path) -> None:
    for value in (1.0, 2.0):
        features.write_chunk(tmp_path / "chunk", [{"x": np.full((3, 2), value)}, {"x": np.full((1, 2), value)}])
    chunk = features.read_chunk(tmp_path / "chunk")
    assert [view["x"].shape for view in chunk] == [(3, 2), (1, 2)]
    assert chunk[0]["x"][0, 0] == 1.0 and [path.name for path in tmp_path.iterdir()] == ["chunk"]
