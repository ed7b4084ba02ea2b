"""Speech encoders: padding and level move nothing, and the layers are those of another implementation."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from numpy.typing import NDArray
from tiny import FAMILIES, model_folder
from torch import Tensor

from mtqnet.audio.features import log_mel
from mtqnet.audio.windows import pad
from mtqnet.errors import ModelError
from mtqnet.training.config import EncoderConfig
from mtqnet.training.encoder import (
    HuggingFaceEncoder,
    SpeechEncoder,
    WhisperEncoder,
    load,
    read_container,
    stored_weights,
    whisper_file,
)
from mtqnet.training.frontend import FrontEnd

os.environ["HF_HUB_OFFLINE"] = "1"
transformers = pytest.importorskip("transformers")

Samples = NDArray[np.float32]


def white(samples: int, level: float) -> Samples:
    return np.float32(level) * np.random.default_rng(0).standard_normal(samples, dtype=np.float32)


def hear(encoder: SpeechEncoder, clips: list[Samples]) -> tuple[Tensor, list[int]]:
    """Frames and counts of clips in one batch."""
    views = [log_mel(clip) if encoder.feature == "logmel" else clip[:, None] for clip in clips]
    with torch.inference_mode():
        frames, counts = encoder(torch.from_numpy(pad(views)[0]), torch.tensor([len(clip) for clip in clips]))
    return frames, counts.tolist()


@pytest.fixture(scope="module")
def model_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("encoders")
    for family in FAMILIES:
        model_folder(family, home)
    return home


@pytest.fixture(params=["whisper", *FAMILIES])
def encoder(request: pytest.FixtureRequest, model_home: Path) -> SpeechEncoder:
    if request.param == "whisper":
        return tiny.whisper()
    return load(EncoderConfig(str(model_home / request.param), (0, 2), 2))


def test_clip_is_heard_alike_alone_and_in_a_batch(encoder: SpeechEncoder, voice: Callable[..., Samples]) -> None:
    clips = [voice(1.2), voice(0.7, seed=1), voice(1.0, seed=2)[:-77]]
    together, counts = hear(encoder, clips)
    assert together.shape == (3, max(counts), encoder.width)
    for place, clip in enumerate(clips):
        alone, (count,) = hear(encoder, [clip])
        assert counts[place] == count == alone.shape[1]
        torch.testing.assert_close(together[place, :count], alone[0], atol=2e-4, rtol=1e-4)
        assert not together[place, count:].any()


@pytest.mark.parametrize("gain", [0.2, 3.0])
def test_level_moves_nothing(gain: float, encoder: SpeechEncoder, voice: Callable[..., Samples]) -> None:
    voiced: Samples = voice(1.0)
    loud, soft = hear(encoder, [voiced])[0], hear(encoder, [np.multiply(voiced, gain, dtype=np.float32)])[0]
    torch.testing.assert_close(soft, loud, atol=2e-3, rtol=1e-3)


def test_frames_are_25_a_second_after_pooling_two(encoder: SpeechEncoder, voice: Callable[..., Samples]) -> None:
    _, (count,) = hear(encoder, [voice(2.0)])
    assert count == pytest.approx(50, abs=1)


def test_encoder_is_frozen(encoder: SpeechEncoder) -> None:
    assert not encoder.training
    assert not [name for name, p in encoder.named_parameters() if p.requires_grad]


def test_other_sounds_are_heard_as_other_frames(encoder: SpeechEncoder, voice: Callable[..., Samples]) -> None:
    speech = hear(encoder, [voice(1.0)])[0]
    noise = white(16_000, 0.05)
    assert float((speech - hear(encoder, [noise])[0]).abs().mean()) > 0.05 * float(speech.abs().mean())


def test_whisper_layers_are_those_of_transformers(voice: Callable[..., Samples]) -> None:
    """The whole 30 s window, where the other implementation can run: stem and first two layers."""
    weights = read_container(whisper_file())
    ours = WhisperEncoder(weights, (0, 1, 2), 1).eval()
    config = transformers.WhisperConfig(
        d_model=384, encoder_layers=2, encoder_attention_heads=6, encoder_ffn_dim=1536, decoder_layers=1
    )
    theirs = transformers.models.whisper.modeling_whisper.WhisperEncoder(config).eval()
    theirs.load_state_dict(their_names(weights), strict=False)
    mel = torch.from_numpy(log_mel(voice(30.0)))[None]
    samples = torch.tensor([480_000])
    with torch.inference_mode():
        heard, counts = ours(mel, samples)
        states = theirs(
            ours._normalised(mel, samples // 160).transpose(1, 2), output_hidden_states=True
        ).hidden_states
    assert counts.tolist() == [1500]
    for layer in (0, 1):  # the last of theirs has one more norm
        torch.testing.assert_close(heard[..., 384 * layer :][..., :384], states[layer], atol=1e-3, rtol=1e-3)
    with torch.inference_mode():
        last = theirs.layer_norm(heard[..., 768:])
    torch.testing.assert_close(last, states[2], atol=2e-3, rtol=1e-3)


def their_names(weights: dict[str, NDArray[np.float32]]) -> dict[str, Tensor]:
    """CTranslate2's names -> those of transformers, two layers; queries, keys and values apart."""
    names = {"conv1": "conv1", "conv2": "conv2"}
    state = {"embed_positions.weight": weights["encoder/position_encodings/encodings"]}
    for layer in range(2):
        ours, theirs = f"layer_{layer}", f"layers.{layer}"
        names[f"{ours}/self_attention/linear_1"] = f"{theirs}.self_attn.out_proj"
        names[f"{ours}/self_attention/layer_norm"] = f"{theirs}.self_attn_layer_norm"
        names[f"{ours}/ffn/layer_norm"] = f"{theirs}.final_layer_norm"
        names[f"{ours}/ffn/linear_0"], names[f"{ours}/ffn/linear_1"] = f"{theirs}.fc1", f"{theirs}.fc2"
        for key in ("weight", "bias"):
            whole = weights[f"encoder/{ours}/self_attention/linear_0/{key}"]
            for part, value in zip("qkv", np.split(whole, 3), strict=True):
                state[f"{theirs}.self_attn.{part}_proj.{key}"] = value
        del state[f"{theirs}.self_attn.k_proj.bias"]  # zero; they have none
    for name, other in names.items():
        for ours, theirs in (("weight", "weight"), ("bias", "bias"), ("gamma", "weight"), ("beta", "bias")):
            if f"encoder/{name}/{ours}" in weights:
                state[f"{other}.{theirs}"] = weights[f"encoder/{name}/{ours}"]
    return {name: torch.from_numpy(value.copy()) for name, value in state.items()}


@pytest.mark.parametrize("family", FAMILIES)
def test_hugging_face_frames_are_the_models_own(
    family: str, model_home: Path, voice: Callable[..., Samples]
) -> None:
    encoder = HuggingFaceEncoder(str(model_home / family), (1, 3), 1).eval()
    wave = voice(1.0) + white(16_000, 0.003)
    heard, (count,) = hear(encoder, [wave])
    model = transformers.AutoModel.from_pretrained(model_home / family).eval()
    extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=True)
    scaled = extractor(wave, sampling_rate=16_000, return_tensors="pt").input_values
    with torch.inference_mode():
        states = model(scaled, output_hidden_states=True).hidden_states
    assert count == int(model._get_feat_extract_output_lengths(16_000)) == 49
    torch.testing.assert_close(heard, torch.cat([states[1], states[3]], dim=2), atol=1e-4, rtol=1e-4)


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "model.bin"
    file.write_bytes(b"other weights")
    with pytest.raises(ModelError, match="sha256"):
        read_container(file)


def test_unknown_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no speech encoder"):
        load(EncoderConfig(str(tmp_path / "nothing")))


def test_layer_that_does_not_exist_is_refused(model_home: Path) -> None:
    with pytest.raises(ModelError, match="has 3 layers, layer 9"):
        load(EncoderConfig(str(model_home / "WavLM"), (9,), 1))
    with pytest.raises(ModelError, match="has 4 layers, layer 5"):
        load(EncoderConfig("whisper-tiny.en", (5,), 1))


def test_tuned_weights_that_are_not_there_are_named(tmp_path: Path) -> None:
    config = EncoderConfig(weights=str(tmp_path / "gone.safetensors"))
    with pytest.raises(ModelError, match=r"encoder.weights: no file .*gone\.safetensors"):
        stored_weights(config)
    with pytest.raises(ModelError, match=r"gone\.safetensors"):
        _ = FrontEnd(("logmel",), False, config).key
