"""The bar of scoring: how many, how long, how fast."""

from __future__ import annotations

import io
import time

import pytest
from rich.console import Console

from mtqnet.cli import bars


def test_the_bar_counts_recordings_and_says_how_fast_it_hears(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(bars, "MOMENT_S", 0.0)
    monkeypatch.setattr(bars, "Console", lambda **_: Console(file=screen, force_terminal=True, width=100))
    with bars.scoring(3) as advance:
        advance(60.0)
        advance(60.0)
        time.sleep(0.3)  # the bar is drawn ten times a second
    assert "2/3" in screen.getvalue()
    assert "s of audio a second" in screen.getvalue()


def test_a_bar_that_never_appeared_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(bars, "MOMENT_S", 60.0)
    monkeypatch.setattr(bars, "Console", lambda **_: Console(file=screen, force_terminal=True, width=100))
    with bars.scoring(1) as advance:
        advance(1.0)
    assert "scoring" not in screen.getvalue()
