"""Configurations: both files load, and no typing mistake trains anything."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from mtqnet.errors import UsageError
from mtqnet.targets import KEYS, OBJECTIVE
from mtqnet.training.config import Config, EncoderConfig, FitConfig, PeersConfig, load
from mtqnet.training.network import Network

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
LEAST = 'name = "x"\n[corpus]\nspeech = ["a"]\nnoise = ["b"]\n'


def loaded(tmp_path: Path, text: str) -> Config:
    (tmp_path / "own.toml").write_text(text)
    return load(tmp_path / "own.toml")


@pytest.mark.parametrize("file", sorted(CONFIGS.glob("*.toml")), ids=lambda file: file.stem)
def test_every_configuration_loads_and_makes_a_network(file: Path) -> None:
    made = load(file)
    assert made.name == file.stem
    for targets in (tuple(target.key for target in OBJECTIVE), KEYS):
        assert Network(made.network, targets, encoder_width=24).targets == targets


@pytest.mark.parametrize("file", sorted(CONFIGS.glob("*.toml")), ids=lambda file: file.stem)
def test_every_value_of_the_file_arrives(file: Path) -> None:
    made = load(file)
    for section, table in tomllib.loads(file.read_text()).items():
        for key, value in table.items() if isinstance(table, dict) else ():
            found = getattr(getattr(made, section), key)
            assert found == (tuple(value) if isinstance(value, list) else value)


def test_what_is_left_out_has_its_default(tmp_path: Path) -> None:
    made = loaded(tmp_path, LEAST)
    assert made.encoder == EncoderConfig() and made.student == FitConfig()
    assert made.corpus.speech == ("a",) and made.corpus.rooms == ()


def test_whole_number_stands_for_a_fraction(tmp_path: Path) -> None:
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
        ('name = "x"\n', "'corpus' is missing"),
        (LEAST + "[student]\nepochs = 3.5\n", "epochs: expected int"),
        (LEAST + "[student]\nepochs = true\n", "epochs: expected int"),
        (LEAST + "[student]\nepochs = false\n", "epochs: expected int"),
        (LEAST + '[student]\nlearning_rate = "fast"\n', "learning_rate: expected float"),
        (LEAST + "[student]\nlearning_rate = true\n", "learning_rate: expected float"),
        (LEAST + "[encoder]\nlayers = 2\n", "layers must be a list"),
        (LEAST + '[encoder]\nlayers = ["two"]\n', "layers: expected int"),
        (LEAST + "[network]\npeak_normalise = 1\n", "peak_normalise: expected bool"),
        (LEAST + '[network]\nmerge = "stack"\n', "merge: 'stack' is none of channel, time"),
        (LEAST + '[network]\nfront_ends = ["mfcc"]\n', "front_ends: 'mfcc'"),
        (LEAST + '[network]\nsigmoid = ["mos"]\n', "'mos'"),
        (LEAST + "[network]\ntime_strides = [2]\n", "time_strides"),
        ("student = 3\n" + LEAST, "student must be a table"),
        ("name = ", "not TOML"),
    ],
)
def test_mistake_is_named(text: str, named: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"own\.toml|need one entry|unknown target") as caught:
        loaded(tmp_path, text)
    assert named in str(caught.value)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"missing\.toml"):
        load(tmp_path / "missing.toml")
    with pytest.raises(UsageError):
        load(tmp_path)


def test_peers_that_do_not_exist_are_refused() -> None:
    with pytest.raises(UsageError, match="nisqa"):
        PeersConfig(heads=("nisqa",))
    with pytest.raises(UsageError, match="dnsmos_p808"):
        PeersConfig(heads=("distillmos",), consensus=("dnsmos_p808",))


def test_an_average_keeps_less_than_all_of_itself() -> None:
    with pytest.raises(UsageError, match="average"):
        FitConfig(average=1.0)
