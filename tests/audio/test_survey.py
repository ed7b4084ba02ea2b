"""What is known of a recording that comes in blocks is what is known of one that is held."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from mtqnet.audio import checks
from mtqnet.audio.audio import SAMPLE_RATE, Recording, Samples
from mtqnet.audio.level import active_level, active_power
from mtqnet.audio.survey import Survey, Surveyor
from mtqnet.errors import MtqnetError, SilentError, TooShortError

Voice = Callable[..., Samples]
HISS = np.random.default_rng(0).standard_normal(40 * SAMPLE_RATE).astype(np.float32)


def survey(samples: Samples, chunk: int = 7_777, rate: int = SAMPLE_RATE) -> Survey:
    surveyor = Surveyor()
    for start in range(0, len(samples), chunk):
        surveyor.add(samples[start : start + chunk])
    return surveyor.finish(rate, channels_cancel=False)


def silence(seconds: float) -> Samples:
    return np.zeros(round(seconds * SAMPLE_RATE), dtype=np.float32)


def signals(voice: Voice) -> dict[str, Samples]:
    speech = voice(13.3) + 1e-3 * HISS[: round(13.3 * SAMPLE_RATE)]
    ceiling = np.quantile(np.abs(speech), 0.97)
    return {
        "plain": speech,
        "short": speech[: round(1.2345 * SAMPLE_RATE)],
        "padded": np.concatenate([silence(3.21), speech, silence(0.3), speech, silence(21.7)]),
        "pause before a word": np.concatenate([silence(0.4), speech, silence(0.4)]),
        "late": np.concatenate([silence(16.0), speech]),
        "offset": speech + np.float32(0.1),
        "clipped": np.clip(speech, -ceiling, ceiling),
        "faint": speech * np.float32(0.01),
        "loud": speech * np.float32(8),
        "a word": np.concatenate([1e-3 * HISS[: 9 * SAMPLE_RATE], speech[:SAMPLE_RATE], 1e-3 * HISS]),
        "noise": 0.05 * HISS[: round(7.7 * SAMPLE_RATE)],
        "tone": np.sin(np.arange(9 * SAMPLE_RATE) * 0.2).astype(np.float32) * np.float32(0.1),
    }


@pytest.mark.parametrize("chunk", [999, 80_000, 10**7])
def test_facts_ends_and_flags_are_those_of_the_whole(voice: Voice, chunk: int) -> None:
    for name, samples in signals(voice).items():
        whole = Recording(samples, SAMPLE_RATE, 1)
        found, known = survey(samples, chunk), checks.facts(whole)
        assert (found.start, found.stop) == checks.heard(whole), name
        assert found.flags == checks.flags(whole), name
        assert (found.facts.duration_s, found.facts.peak) == (known.duration_s, known.peak), name
        assert found.facts.loudest_dbov == pytest.approx(known.loudest_dbov, abs=1e-9), name
        assert found.facts.active_dbov == pytest.approx(known.active_dbov, abs=0.05), name
        assert found.facts.clipped_share == pytest.approx(known.clipped_share, rel=0.05, abs=5e-4), name
        assert found.facts.heard_s == known.heard_s, name
        assert found.facts.active_share == pytest.approx(known.active_share, abs=0.01), name
        assert found.facts.dc == pytest.approx(known.dc, abs=1e-6), name
        for fact in ("band_share", "movement", "persistence"):
            assert getattr(found.facts, fact) == pytest.approx(getattr(known, fact), abs=1e-6, nan_ok=True), name
        power = active_power(active_level(samples[found.start : found.stop]))
        assert found.active_power == pytest.approx(power, rel=1e-9), name


def test_a_low_rate_is_told_and_narrows_what_is_expected(voice: Voice) -> None:
    """The voice ends at 3.4 kHz: far down in a file of 16 kHz, near the end of one of 8 kHz."""
    samples = voice(13.3)
    assert survey(samples, rate=16_000).flags == ("narrow_band",)
    assert survey(samples, rate=8_000).flags == ("low_rate",)


def test_what_is_refused_whole_is_refused_in_blocks_in_the_same_words(voice: Voice) -> None:
    click = silence(20)
    click[5 * SAMPLE_RATE : 5 * SAMPLE_RATE + 1600] = 0.1 * HISS[:1600]
    for samples in (voice(0.3), silence(20.0), silence(20.0) + np.float32(0.5), click):
        with pytest.raises(MtqnetError) as whole:
            checks.heard(Recording(samples, SAMPLE_RATE, 1))
        with pytest.raises(type(whole.value)) as blocks:
            survey(samples)
        assert str(blocks.value) == str(whole.value)
        assert isinstance(blocks.value, (TooShortError, SilentError))
