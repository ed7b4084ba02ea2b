"""The table of flags: texts are complete, and a flag is raised on one side of its threshold only."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from mtqnet import errors
from mtqnet.audio import reading, resampling
from mtqnet.audio.flags import (
    BY_KEY,
    CANCEL_DB,
    FLAGS,
    LOW_RATE_HZ,
    RAISED,
    REFUSED,
    Flag,
    Measurements,
    level_of,
    markdown,
    of_error,
    raised,
)
from mtqnet.audio.level import to_db

GOOD = Measurements(
    duration_s=8.0, peak=0.4, loudest_dbov=-15.0, active_dbov=-26.0, clipped_fraction=0.001, trimmed_s=7.9,
    active_fraction=0.8, dc_offset=1e-4, bandwidth_fraction=1.0, spectral_change=0.5,
    tonal_persistence=0.05, source_rate=16_000.0,
    channels_cancel=False,
)  # fmt: skip


def with_measurement(flag: Flag, value: float) -> Measurements:
    """Good measurements except for the one that the flag uses."""
    changed: dict[str, Any] = {str(flag.measurement): value}
    return dataclasses.replace(GOOD, **changed)


def test_good_measurements_raise_no_flag() -> None:
    assert raised(GOOD) == ()


@pytest.mark.parametrize(
    "flag",
    [flag for flag in RAISED if flag.measurement not in ("channels_cancel", "truncated")],
    ids=lambda flag: flag.key,
)
def test_a_flag_is_raised_beyond_its_threshold_and_not_at_it(flag: Flag) -> None:
    assert flag.threshold is not None
    step = -1e-6 if flag.below else 1e-6
    assert raised(with_measurement(flag, flag.threshold + step)) == (flag.key,)
    assert raised(with_measurement(flag, flag.threshold)) == ()
    assert raised(with_measurement(flag, float("nan"))) == ()


def test_several_come_in_the_order_of_the_table() -> None:
    bad = dataclasses.replace(GOOD, channels_cancel=True, trimmed_s=1.0, dc_offset=0.5, truncated=True)
    assert raised(bad) == ("short", "dc", "channels_cancel", "truncated")


def test_keys_are_unique_and_all_texts_are_present() -> None:
    assert len(BY_KEY) == len(FLAGS)
    for flag in FLAGS:
        assert flag.summary and flag.reason.endswith((".", "?")) and flag.advice.endswith((".", "?"))
        assert (flag.level == "refused") == (flag.error is not None) == (flag in REFUSED)


def test_every_kind_of_audio_error_has_its_flag() -> None:
    kinds = set(errors.AudioError.__subclasses__()) - {errors.KilledError}
    assert {flag.error for flag in REFUSED} == kinds
    assert of_error(errors.SilentError("nothing")) == ("silent",)
    assert of_error(errors.ModelError("no fault of the recording")) == ()


def test_levels_are_ordered() -> None:
    assert level_of(()) == "ok"
    assert level_of(("low_rate",)) == "ok"
    assert level_of(("low_rate", "dc")) == "caution"
    assert level_of(("dc", "silent")) == "refused"


def test_thresholds_repeat_the_constants_of_other_modules() -> None:
    assert LOW_RATE_HZ == resampling.SAMPLE_RATE
    assert to_db(reading.CANCEL_POWER) == pytest.approx(CANCEL_DB)


def test_markdown_has_a_row_for_each() -> None:
    lines = markdown().splitlines()
    assert len(lines) == len(FLAGS) + 2
    assert len({line.count(" | ") for line in lines}) == 1
