"""The public names of `mtqnet`, and the modules that its import must not load."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import mtqnet


def loaded_after(code: str) -> set[str]:
    """Modules in a fresh interpreter after `code`."""
    script = f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_exported_names_are_these() -> None:
    assert sorted(mtqnet.__all__) == [
        "AudioError",
        "COLUMNS",
        "CorpusError",
        "Interval",
        "MissingExtraError",
        "ModelError",
        "MtqnetError",
        "NoAudioFoundError",
        "Predictor",
        "Results",
        "Scores",
        "Stream",
        "TARGETS",
        "TooShortError",
        "Track",
        "UsageError",
        "__version__",
        "load",
        "over_time",
        "score",
        "stream",
    ]


@pytest.mark.parametrize("name", mtqnet.__all__)
def test_every_name_is_there_and_listed(name: str) -> None:
    assert getattr(mtqnet, name) is not None
    assert name in dir(mtqnet)


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="scroe"):
        _ = mtqnet.scroe


def test_names_are_the_ones_of_their_homes() -> None:
    assert mtqnet.Predictor is import_module("mtqnet.scoring.predictor").Predictor
    assert mtqnet.UsageError is import_module("mtqnet.errors").UsageError


def test_import_loads_nothing_heavy() -> None:
    assert not loaded_after("import mtqnet") & {"numpy", "onnxruntime", "soundfile", "typer", "rich"}


def test_help_needs_no_numpy() -> None:
    assert not loaded_after("import mtqnet.cli.app") & {"numpy", "onnxruntime", "soundfile"}


def test_scoring_never_imports_torch_or_other_rooms(toy_model: Path, good_file: Path) -> None:
    loaded = loaded_after(
        f"import mtqnet; assert mtqnet.score({str(good_file)!r}, model={str(toy_model)!r}).s_mos is not None"
    )
    assert not loaded & {"torch", "scipy", "pandas", "pyarrow", "matplotlib", "pesq", "pystoi", "onnx"}
    assert not loaded & {"soxr", "rich", "typer", "multiprocessing"}  # 16 kHz, no terminal, one process
    rooms = {name.split(".")[1] for name in loaded if name.startswith("mtqnet.")}
    assert rooms == {"errors", "targets", "causes", "audio", "scoring"}


def test_the_command_loads_only_what_it_shows_with(toy_model: Path, good_file: Path) -> None:
    arguments = ["score", str(good_file), "-m", str(toy_model)]
    loaded = loaded_after(f"from mtqnet.cli.app import app\napp({arguments!r}, standalone_mode=False)")
    assert not loaded & {"torch", "scipy", "pandas", "pyarrow", "matplotlib", "soxr"}
    assert not loaded & {"rich.progress", "rich.table", "concurrent.futures.process"}


def test_torch_loss_without_torch_names_the_extra() -> None:
    code = "import sys; sys.modules['torch'] = None\nimport mtqnet.integrations.torch"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "MissingExtraError" in done.stderr and "mtqnet[train]" in done.stderr
