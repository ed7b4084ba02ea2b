"""The table of flags: each has its words, and is raised on its own side of its threshold alone."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from mtqnet import errors
from mtqnet.audio import audio
from mtqnet.audio.facts import Facts
from mtqnet.audio.flags import (
    BY_KEY,
    CANCEL_DB,
    FLAGS,
    HEADINGS,
    LOW_RATE_HZ,
    RAISED,
    REFUSED,
    Flag,
    level_of,
    markdown,
    of_error,
    raised,
)
from mtqnet.audio.level import to_db

GOOD = Facts(
    duration_s=8.0, peak=0.4, loudest_dbov=-15.0, active_dbov=-26.0, clipped_share=0.001, heard_s=7.9,
    active_share=0.8, dc=1e-4, band_share=1.0, movement=0.5, persistence=0.05, source_rate=16_000.0,
    channels_cancel=False,
)  # fmt: skip


def with_fact(flag: Flag, value: float) -> Facts:
    """Good facts but for the one that the flag rests on."""
    changed: dict[str, Any] = {str(flag.fact): value}
    return dataclasses.replace(GOOD, **changed)


def test_good_facts_raise_nothing() -> None:
    assert raised(GOOD) == ()


@pytest.mark.parametrize(
    "flag", [flag for flag in RAISED if flag.fact != "channels_cancel"], ids=lambda flag: flag.key
)
def test_a_flag_is_raised_beyond_its_threshold_and_not_at_it(flag: Flag) -> None:
    assert flag.threshold is not None
    step = -1e-6 if flag.below else 1e-6
    assert raised(with_fact(flag, flag.threshold + step)) == (flag.key,)
    assert raised(with_fact(flag, flag.threshold)) == ()
    assert raised(with_fact(flag, float("nan"))) == ()


def test_several_come_in_the_order_of_the_table() -> None:
    bad = dataclasses.replace(GOOD, channels_cancel=True, heard_s=1.0, dc=0.5)
    assert raised(bad) == ("short", "dc", "channels_cancel")


def test_keys_are_their_own_and_every_word_is_there() -> None:
    assert len(BY_KEY) == len(FLAGS)
    for flag in FLAGS:
        assert flag.says and flag.reason.endswith((".", "?")) and flag.do.endswith((".", "?"))
        assert (flag.level == "refused") == (flag.error is not None) == (flag in REFUSED)


def test_every_kind_of_audio_error_has_its_flag() -> None:
    kinds = set(errors.AudioError.__subclasses__()) - {errors.KilledError}  # nobody was left to look at it
    assert {flag.error for flag in REFUSED} == kinds
    assert of_error(errors.SilentError("nothing")) == ("silent",)
    assert of_error(errors.ModelError("no fault of the recording")) == ()


def test_levels_are_ordered() -> None:
    assert level_of(()) == "ok"
    assert level_of(("low_rate",)) == "ok"
    assert level_of(("low_rate", "dc")) == "caution"
    assert level_of(("dc", "silent")) == "refused"


def test_thresholds_that_others_hold_are_theirs() -> None:
    assert LOW_RATE_HZ == audio.SAMPLE_RATE
    assert to_db(audio.CANCEL_POWER) == pytest.approx(CANCEL_DB)


def test_markdown_has_a_row_for_each() -> None:
    lines = markdown().splitlines()
    assert len(lines) == len(FLAGS) + 2
    assert all(line.count(" | ") == len(HEADINGS) - 1 for line in lines)
