"""Classic noise reducers as black boxes: their delay, what they do to the labels, and how good the two tracks
are that are estimated from outside."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from mtqnet.audio.features import istft, stft
from mtqnet.audio.level import active_level
from mtqnet.corpus.degradations.noise import ColouredNoise
from mtqnet.corpus.degradations.step import TAIL, Tracks, start, through
from mtqnet.corpus.degradations.suppressors import (
    LogMmse,
    NoiseReduce,
    SpectralGain,
    SpectralSubtraction,
    SpeexDsp,
    WebRtc,
    reduced,
)
from mtqnet.corpus.sources import Pool
from mtqnet.errors import MissingExtraError
from mtqnet.labels.pairing import delay
from mtqnet.labels.three_signal import Quest, label

Samples = NDArray[np.float32]
Tool = NoiseReduce | WebRtc | SpeexDsp
Gain = SpectralGain | SpectralSubtraction | LogMmse

PACKAGES = {NoiseReduce: "noisereduce", WebRtc: "webrtc_noise_gain", SpeexDsp: "speexdsp_ns"}
PINNED: tuple[tuple[Tool, int], ...] = (
    (NoiseReduce(1.0, True), 0),
    (NoiseReduce(1.0, False), 0),
    (WebRtc(2, 0, 1), 96),
    (WebRtc(2, 3, 1), 96),
    (SpeexDsp(-15, 1), 160),
)
LADDERS: tuple[tuple[Tool, Tool], ...] = (
    (NoiseReduce(0.4, True), NoiseReduce(1.0, True)),
    (NoiseReduce(0.4, False), NoiseReduce(1.0, False)),
    (WebRtc(1, 0, 1), WebRtc(4, 0, 1)),
    (WebRtc(4, 0, 1), WebRtc(4, 0, 2)),
    (SpeexDsp(-6, 1), SpeexDsp(-45, 1)),
    (SpeexDsp(-45, 1), SpeexDsp(-45, 2)),
)
ALL = tuple(dict.fromkeys([tool for tool, _ in PINNED] + [tool for pair in LADDERS for tool in pair]))
GAINS: tuple[Gain, ...] = (
    SpectralGain(1.5, -20.0, 1.0),
    SpectralSubtraction(3.0, -20.0, 2),
    LogMmse(1.0, -20.0, 0.98),
)


@pytest.fixture(scope="module")
def noisy(talker: Callable[..., Samples]) -> Tracks:
    return ColouredNoise(3.0, 10.0, 3)(start(talker(4.0)))


def labels(tracks: Tracks) -> Quest:
    return label(tracks.clean, tracks.speech, tracks.noise)


@pytest.mark.parametrize(("step", "samples"), PINNED, ids=str)
def test_delay_is_pinned_and_taken_off(step: Tool, samples: int, noisy: Tracks) -> None:
    given = np.pad(noisy.clean, (0, TAIL))
    assert delay(given, step.process(given)) == samples == step.DELAY
    assert delay(noisy.clean, step(noisy).mixture) == 0


@pytest.mark.parametrize("step", [WebRtc(2, 0, 2), SpeexDsp(-15, 2)], ids=str)
def test_two_passes_leave_no_delay(step: Tool, noisy: Tracks) -> None:
    assert delay(noisy.clean, step(noisy).mixture) == 0


@pytest.mark.parametrize(("step", "harder"), LADDERS, ids=str)
def test_stronger_takes_more_noise_and_harms_speech_more(step: Tool, harder: Tool, noisy: Tracks) -> None:
    before, mild, hard = labels(noisy), labels(step(noisy)), labels(harder(noisy))
    assert before.equivalent_snr_db < mild.equivalent_snr_db < hard.equivalent_snr_db
    assert mild.n_mos > before.n_mos + 0.05
    assert before.equivalent_q_db - 3 > mild.equivalent_q_db > hard.equivalent_q_db + 3
    assert mild.s_mos > hard.s_mos


@pytest.mark.parametrize("step", ALL, ids=str)
def test_same_samples_whatever_was_processed_before(step: Tool, noisy: Tracks) -> None:
    first = step(noisy)
    step(Tracks(noisy.clean, noisy.noise, noisy.speech[::-1].copy()))
    copy = type(step)(**json.loads(json.dumps(vars(step))))
    again = copy(noisy)
    for part in ("clean", "speech", "noise"):
        np.testing.assert_array_equal(getattr(first, part), getattr(again, part))
        assert getattr(first, part).shape == noisy.clean.shape and getattr(first, part).dtype == np.float32
    assert np.isfinite(first.mixture).all()
    np.testing.assert_array_equal(first.clean, noisy.clean)


@pytest.mark.parametrize("step", ALL, ids=str)
def test_silence_stays_silent_and_a_click_is_no_trouble(step: Tool) -> None:
    nothing = np.zeros(20_000, np.float32)
    assert not step(start(nothing)).mixture.any()
    click = nothing.copy()
    click[10_000] = 0.5
    heard = step(start(click)).mixture
    assert np.isfinite(heard).all() and np.abs(heard).max() < 1


def test_gain_control_raises_the_level(noisy: Tracks) -> None:
    plain, raised = WebRtc(2, 0, 1)(noisy), WebRtc(2, 3, 1)(noisy)
    assert active_level(raised.mixture) > active_level(plain.mixture) + 3


@pytest.mark.parametrize("wet", [0.0, 0.3, 1.0])
def test_dry_share_is_in_time_with_the_wet(wet: float, noisy: Tracks) -> None:
    """A tool that only delays and halves, twice."""

    def late(given: Samples) -> Samples:
        return np.pad(0.5 * given, (70, 0))

    made = reduced(noisy, late, 70, wet, 2)
    np.testing.assert_allclose(made.mixture, (wet * 0.25 + 1 - wet) * noisy.mixture, atol=1e-6)


@pytest.mark.parametrize("kind", PACKAGES, ids=lambda kind: kind.__name__)
def test_drawn_parameters_survive_json(kind: type[Tool], full_pool: Pool) -> None:
    drawn = [kind.draw(np.random.default_rng(seed), full_pool, 48_000) for seed in range(40)]
    assert len(set(drawn)) > 10
    for step in drawn:
        assert kind(**json.loads(json.dumps(vars(step)))) == step


@pytest.mark.parametrize("tool", [NoiseReduce(1.0, True), WebRtc(2, 0, 1)], ids=str)
def test_missing_package_is_reported_in_words(tool: Tool, noisy: Tracks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, PACKAGES[type(tool)], None)
    with pytest.raises(MissingExtraError, match=r"mtqnet\[corpus\]"):
        tool(noisy)


def from_outside(gain: Gain, noisy: Tracks) -> Tracks:
    """The gain as a tool of which only input and output are known."""

    def tool(given: Samples) -> Samples:
        spectra = stft(given[:-TAIL])  # silence behind the clip would count as noise floor
        return istft(gain.gain(np.abs(spectra) ** 2) * spectra, len(given) - TAIL)

    return through(noisy, tool, 0)


@pytest.mark.parametrize("snr_db", [0.0, 10.0, 20.0, 30.0])
@pytest.mark.parametrize("gain", GAINS, ids=lambda gain: type(gain).__name__)
def test_tracks_estimated_from_outside_have_nearly_the_exact_labels(
    gain: Gain, snr_db: float, talker: Callable[..., Samples]
) -> None:
    """Within 0.3 on S and 0.15 on N; over real recordings 0.04 and 0.01 on average."""
    noisy = ColouredNoise(3.0, snr_db, 3)(start(talker(4.0)))
    inside, outside = gain(noisy), from_outside(gain, noisy)
    np.testing.assert_allclose(outside.mixture, inside.mixture, atol=1e-5)
    exact, estimated, before = labels(inside), labels(outside), labels(noisy)
    assert exact.equivalent_snr_db > before.equivalent_snr_db + 1, "without a reduction there is no comparison"
    assert estimated.s_mos == pytest.approx(exact.s_mos, abs=0.3)
    assert estimated.n_mos == pytest.approx(exact.n_mos, abs=0.15)
