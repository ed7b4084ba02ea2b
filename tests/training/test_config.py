"""Configurations: the files load, and every mistake is an error that names it."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest

from mtqnet.errors import UsageError
from mtqnet.targets import KEYS, OBJECTIVE
from mtqnet.training.config import (
    Config,
    EncoderConfig,
    ExistingModelsConfig,
    FitConfig,
    load,
)
from mtqnet.training.model import Network

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
LEAST = 'name = "x"\n[corpus]\nspeech = ["a"]\nnoise = ["b"]\n'


def loaded(tmp_path: Path, text: str) -> Config:
    (tmp_path / "own.toml").write_text(text)
    return load(tmp_path / "own.toml")


@pytest.mark.parametrize("file", sorted(CONFIGS.glob("*.toml")), ids=lambda file: file.stem)
def test_every_configuration_loads_and_makes_a_network(file: Path) -> None:
    made = load(file)
    assert file.stem in (made.name, f"{made.name}_frames")
    for targets in (tuple(target.key for target in OBJECTIVE), KEYS):
        assert Network(made.network, targets, encoder_width=24).targets == targets


@pytest.mark.parametrize("file", sorted(CONFIGS.glob("*.toml")), ids=lambda file: file.stem)
def test_every_value_of_the_file_is_used(file: Path) -> None:
    made = load(file)
    for section, table in tomllib.loads(file.read_text()).items():
        for key, value in table.items() if isinstance(table, dict) else ():
            found = getattr(getattr(made, section), key)
            assert found == (tuple(value) if isinstance(value, list) else value)


def test_missing_keys_have_their_defaults(tmp_path: Path) -> None:
    made = loaded(tmp_path, LEAST)
    assert made.encoder == EncoderConfig() and made.student == FitConfig()
    assert made.corpus.speech == ("a",) and made.corpus.rooms == ()


def test_integer_is_accepted_as_float(tmp_path: Path) -> None:
    delta = loaded(tmp_path, LEAST + "[loss]\ndelta = 2\n").loss.delta
    assert delta == 2.0 and isinstance(delta, float)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (LEAST + "[student]\nepoch = 3\n", "'epoch'"),
        (LEAST.replace("noise", "noises"), "'noises'"),
        ("nmae = 1\n" + LEAST, "'nmae'"),
        (LEAST.replace('noise = ["b"]\n', ""), "'noise' is missing"),
        (LEAST.replace('name = "x"\n', ""), "'name' is missing"),
        (LEAST + "[student]\nepochs = 3.5\n", "epochs: expected a value of type int"),
        (LEAST + "[student]\nepochs = true\n", "epochs: expected a value of type int"),
        (LEAST + "[student]\nepochs = false\n", "epochs: expected a value of type int"),
        (LEAST + '[student]\nlearning_rate = "fast"\n', "learning_rate: expected a value of type float"),
        (LEAST + "[student]\nlearning_rate = true\n", "learning_rate: expected a value of type float"),
        (LEAST + "[encoder]\nlayers = 2\n", "layers: expected a list"),
        (LEAST + '[encoder]\nlayers = ["two"]\n', "layers: expected a value of type int"),
        (LEAST + "[network]\npeak_normalise = 1\n", "peak_normalise: expected a value of type bool"),
        ('method = "magic"\n' + LEAST, "method: found 'magic', expected one of mpl, scratch, transfer"),
        (LEAST + '[network]\nfront_ends = ["mfcc"]\n', "front_ends: found 'mfcc'"),
        (LEAST + "[network]\ntime_strides = [2]\n", "time_strides"),
        ("student = 3\n" + LEAST, "student: expected a table"),
        ("name = ", "not valid TOML"),
    ],
)
def test_mistake_is_named(text: str, named: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"own\.toml|must have the same length") as caught:
        loaded(tmp_path, text)
    assert named in str(caught.value)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"missing\.toml"):
        load(tmp_path / "missing.toml")
    with pytest.raises(UsageError):
        load(tmp_path)


def test_unknown_existing_models_are_refused() -> None:
    with pytest.raises(UsageError, match="nisqa"):
        ExistingModelsConfig(heads=("nisqa",))


def test_decay_of_one_is_refused() -> None:
    with pytest.raises(UsageError, match="ema_decay"):
        FitConfig(ema_decay=1.0)


def test_training_from_scratch_cannot_start_from_a_teacher(tmp_path: Path) -> None:
    assert loaded(tmp_path, 'method = "transfer"\n' + LEAST).initialised_from_teacher
    base = load(CONFIGS / "base.toml")
    assert base.transfer and base.method == "mpl"
    assert not base.with_method("scratch").initialised_from_teacher
    assert base.with_method("transfer").initialised_from_teacher and base.with_method("mpl") == base
    with pytest.raises(UsageError, match="trains no MOSA-Net"):
        loaded(tmp_path, 'method = "scratch"\ntransfer = true\n' + LEAST)


def test_a_configuration_is_a_regular_file(tmp_path: Path) -> None:
    """Reading a pipe would wait for its writer, /dev/zero would fill the memory."""
    os.mkfifo(tmp_path / "pipe.toml")
    for path in (tmp_path / "pipe.toml", Path("/dev/zero"), tmp_path):
        with pytest.raises(UsageError, match=r"regular file|is a folder"):
            load(path)
