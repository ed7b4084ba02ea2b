"""Weights are loaded only if they belong to the graph and the record next to them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
import torch

import tiny_model
from mtqnet.audio.reading import Excerpt
from mtqnet.errors import ModelError
from mtqnet.training import features
from mtqnet.training.export import PARITY, WEIGHTS_SHA256, Scorer, export, load_weights, parity


@pytest.fixture(params=[False, True], ids=["32 bits", "8 bits"])
def model(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    kind = "channel" if request.param else "plain"
    return tiny_model.write(tmp_path / "one", kind, seed=1, int8=request.param)


def changed(model: Path, change: Callable[[dict[str, Any]], object]) -> None:
    record = model / "one.json"
    entries = json.loads(record.read_text())
    change(entries)
    record.write_text(json.dumps(entries))


def without_digest(model: Path) -> None:
    """As in records of the first versions."""
    changed(model, lambda entries: entries.pop(WEIGHTS_SHA256))


def test_record_has_the_digest_of_the_weights(model: Path) -> None:
    entries = json.loads((model / "one.json").read_text())
    assert entries[WEIGHTS_SHA256] == hashlib.sha256((model / "one.safetensors").read_bytes()).hexdigest()
    assert (model / "one.safetensors").stat().st_mode & 0o044  # as readable for others as the graph


def test_weights_are_loaded_in_evaluation_mode(model: Path) -> None:
    opened = load_weights(model)
    assert opened.int8 == (max(json.loads((model / "one.json").read_text())["parity"].values()) > PARITY)
    assert not opened.network.training


def test_weights_of_another_training_are_refused(model: Path, tmp_path: Path) -> None:
    kind = "channel" if load_weights(model).int8 else "plain"
    other = tiny_model.write(tmp_path / "two", kind, seed=2)
    (model / "one.safetensors").write_bytes((other / "two.safetensors").read_bytes())
    with pytest.raises(ModelError, match=r"one\.safetensors does not belong to one\.json .* same training"):
        load_weights(model)


def test_weights_without_a_digest_are_refused(model: Path) -> None:
    without_digest(model)
    with pytest.raises(ModelError, match="does not belong to"):
        load_weights(model)


def test_damaged_weights_are_named(model: Path) -> None:
    content = b"no tensors"
    (model / "one.safetensors").write_bytes(content)
    changed(model, lambda entries: entries.update({WEIGHTS_SHA256: hashlib.sha256(content).hexdigest()}))
    with pytest.raises(ModelError, match="is damaged"):
        load_weights(model)


def test_tuned_encoder_is_loaded(tmp_path: Path) -> None:
    opened = load_weights(tiny_model.write(tmp_path / "one", "channel", tuned=True))
    plain = load_weights(tiny_model.write(tmp_path / "plain", "channel"))
    assert opened.encoder is not None and plain.encoder is not None
    assert opened.encoder.tuned and not plain.encoder.tuned
    assert opened.encoder.state_dict().keys() == plain.encoder.state_dict().keys()
    scorer = Scorer(opened.network, opened.encoder).eval()
    assert max(parity(scorer, opened.record.path).values()) <= PARITY
    other = Scorer(opened.network, plain.encoder).eval()
    assert max(parity(other, opened.record.path).values()) > PARITY, "the scores of the original encoder differ"


def test_features_of_a_tuned_encoder_have_their_own_folder(tmp_path: Path) -> None:
    kinds = [
        tiny_model.write(tmp_path / name, "channel", seed, tuned=name != "plain")
        for seed, name in enumerate(("plain", "one", "two"))
    ]
    keys = [load_weights(kind).front_end.key for kind in kinds]
    assert len(set(keys)) == 3
    moved = (tmp_path / "elsewhere").resolve()
    (tmp_path / "one").rename(moved)
    (moved / "one.onnx").rename(moved / "elsewhere.onnx")
    (moved / "one.json").rename(moved / "elsewhere.json")
    (moved / "one.safetensors").rename(moved / "elsewhere.safetensors")
    assert load_weights(moved).front_end.key == keys[1], "the same weights in another folder"


def test_stored_features_are_those_of_the_tuned_encoder(tmp_path: Path) -> None:
    opened = load_weights(tiny_model.write(tmp_path / "one", "channel", tuned=True))
    sound = tmp_path / "sound.wav"
    sf.write(sound, np.random.default_rng(0).normal(0, 0.1, 16_000), 16_000)
    clip = features.compute(opened.front_end, [Excerpt(sound, 0, 16_000)], tmp_path / "features", "rated")[0]
    assert opened.encoder is not None
    heard = torch.from_numpy(clip.features["logmel"].astype(np.float32))[None]
    with torch.inference_mode():
        frames = opened.encoder(heard, torch.tensor([16_000]))[0][0].numpy()
    np.testing.assert_allclose(clip.features["encoder"], frames, atol=0.05)


def test_an_encoder_in_the_file_of_another_model_is_loaded(tmp_path: Path) -> None:
    folder = tiny_model.write(tmp_path / "one", "channel", tuned=True)
    first = load_weights(folder)
    assert first.encoder is not None
    about = {key: first.about[key] for key in ("licence", "config")}
    export(first.network, first.encoder, "two", folder, about, encoder_in="one")
    second = load_weights(folder / "two.onnx")
    assert second.encoder is not None and (folder / "two.safetensors").stat().st_size < 1_000_000
    for one, two in zip(first.encoder.parameters(), second.encoder.parameters(), strict=True):
        assert torch.equal(one, two)
