"""Speech encoders: padding and level have no influence, and the layers equal another implementation."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

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
    _whisper_weights,
    load,
    stored_weights,
)
from mtqnet.training.features import FrontEnd
from research import convert_whisper

os.environ["HF_HUB_OFFLINE"] = "1"
transformers = pytest.importorskip("transformers")

Samples = NDArray[np.float32]


def white(samples: int, level: float) -> Samples:
    return np.float32(level) * np.random.default_rng(0).standard_normal(samples, dtype=np.float32)


def frames_of(encoder: SpeechEncoder, clips: list[Samples]) -> tuple[Tensor, list[int]]:
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


def test_frames_of_a_clip_are_the_same_alone_and_in_a_batch(
    encoder: SpeechEncoder, voice: Callable[..., Samples]
) -> None:
    clips = [voice(1.2), voice(0.7, seed=1), voice(1.0, seed=2)[:-77]]
    together, counts = frames_of(encoder, clips)
    assert together.shape == (3, max(counts), encoder.width)
    for place, clip in enumerate(clips):
        alone, (count,) = frames_of(encoder, [clip])
        assert counts[place] == count == alone.shape[1]
        torch.testing.assert_close(together[place, :count], alone[0], atol=2e-4, rtol=1e-4)
        assert not together[place, count:].any()


@pytest.mark.parametrize("gain", [0.2, 3.0])
def test_level_has_no_influence(gain: float, encoder: SpeechEncoder, voice: Callable[..., Samples]) -> None:
    voiced: Samples = voice(1.0)
    loud, soft = (
        frames_of(encoder, [voiced])[0],
        frames_of(encoder, [np.multiply(voiced, gain, dtype=np.float32)])[0],
    )
    torch.testing.assert_close(soft, loud, atol=2e-3, rtol=1e-3)


def test_frame_rate_is_25_hz_after_pooling_two(encoder: SpeechEncoder, voice: Callable[..., Samples]) -> None:
    _, (count,) = frames_of(encoder, [voice(2.0)])
    assert count == pytest.approx(50, abs=1)


def test_encoder_is_frozen(encoder: SpeechEncoder) -> None:
    assert not encoder.training
    assert not [name for name, p in encoder.named_parameters() if p.requires_grad]


def test_frames_of_speech_and_noise_differ(encoder: SpeechEncoder, voice: Callable[..., Samples]) -> None:
    speech = frames_of(encoder, [voice(1.0)])[0]
    noise = white(16_000, 0.05)
    assert float((speech - frames_of(encoder, [noise])[0]).abs().mean()) > 0.05 * float(speech.abs().mean())


def test_whisper_layers_equal_those_of_transformers(voice: Callable[..., Samples]) -> None:
    """The whole 30 s window, where the other implementation can run: stem and first two layers."""
    weights, heads = _whisper_weights()
    ours = WhisperEncoder(weights, heads, EncoderConfig(layers=(0, 1, 2), pool=1)).eval()
    config = transformers.WhisperConfig(
        d_model=384, encoder_layers=2, encoder_attention_heads=6, encoder_ffn_dim=1536, decoder_layers=1
    )
    theirs = transformers.models.whisper.modeling_whisper.WhisperEncoder(config).eval()
    theirs.load_state_dict(their_names(weights), strict=False)
    mel = torch.from_numpy(log_mel(voice(30.0)))[None]
    samples = torch.tensor([480_000])
    with torch.inference_mode():
        frames, counts = ours(mel, samples)
        states = theirs(
            ours._normalised(mel, samples // 160).transpose(1, 2), output_hidden_states=True
        ).hidden_states
    assert counts.tolist() == [1500]
    for layer in (0, 1):  # the last of theirs has one more norm
        torch.testing.assert_close(frames[..., 384 * layer :][..., :384], states[layer], atol=1e-3, rtol=1e-3)
    with torch.inference_mode():
        last = theirs.layer_norm(frames[..., 768:])
    torch.testing.assert_close(last, states[2], atol=2e-3, rtol=1e-3)


def their_names(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names of WhisperEncoder -> those of transformers, with queries, keys and values separated."""
    state = {"embed_positions.weight": weights["positions"]}
    names = {"before_attention": "self_attn_layer_norm", "out": "self_attn.out_proj",
             "before_feed": "final_layer_norm", "widen": "fc1", "narrow": "fc2"}  # fmt: skip
    for name, weight in weights.items():
        _, _, rest = name.partition("blocks.")
        layer, _, rest = rest.partition(".")
        module, _, key = rest.partition(".")
        if not layer:
            state[name] = weight
        elif module == "query_key_value":
            for part, value in zip("qkv", weight.chunk(3), strict=True):
                state[f"layers.{layer}.self_attn.{part}_proj.{key}"] = value
        else:
            state[f"layers.{layer}.{names[module]}.{key}"] = weight
    for layer in "01":
        assert not state.pop(f"layers.{layer}.self_attn.k_proj.bias").any(), "they have none"
    return {name: weight for name, weight in state.items() if name != "positions"}


@pytest.mark.parametrize("family", FAMILIES)
def test_hugging_face_frames_equal_the_models_hidden_states(
    family: str, model_home: Path, voice: Callable[..., Samples]
) -> None:
    encoder = HuggingFaceEncoder(str(model_home / family), (1, 3), 1).eval()
    wave = voice(1.0) + white(16_000, 0.003)
    frames, (count,) = frames_of(encoder, [wave])
    model = transformers.AutoModel.from_pretrained(model_home / family).eval()
    extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=True)
    scaled = extractor(wave, sampling_rate=16_000, return_tensors="pt").input_values
    with torch.inference_mode():
        states = model(scaled, output_hidden_states=True).hidden_states
    assert count == int(model._get_feat_extract_output_lengths(16_000)) == 49
    torch.testing.assert_close(frames, torch.cat([states[1], states[3]], dim=2), atol=1e-4, rtol=1e-4)


def test_converter_copies_the_weights_of_a_ctranslate2_file() -> None:
    """A file of that format with random weights: one layer of width 4."""
    rng, size = np.random.default_rng(0), 4
    positions = rng.standard_normal((6, size)).astype(np.float16)
    arrays: dict[str, NDArray[Any]] = {
        "encoder/num_heads": np.array(2, np.int8),
        "encoder/position_encodings/encodings": positions,
    }
    for name in ("conv1", "conv2", "layer_0/self_attention/linear_0", "layer_0/self_attention/linear_1",
                 "layer_0/ffn/linear_0", "layer_0/ffn/linear_1"):  # fmt: skip
        arrays[f"encoder/{name}/weight"] = rng.standard_normal((size, size)).astype(np.float16)
        arrays[f"encoder/{name}/bias"] = rng.standard_normal(size).astype(np.float16)
    for name in ("layer_0/self_attention", "layer_0/ffn"):
        arrays[f"encoder/{name}/layer_norm/gamma"] = rng.standard_normal(size).astype(np.float16)
        arrays[f"encoder/{name}/layer_norm/beta"] = rng.standard_normal(size).astype(np.float16)
    kinds = {np.dtype(np.int8): 1, np.dtype(np.float16): 4}
    content = struct.pack("<IH", 6, 5) + b"Spec\0" + struct.pack("<II", 3, len(arrays))
    for name, array in arrays.items():
        content += struct.pack("<H", len(name) + 1) + name.encode() + b"\0" + struct.pack("<B", array.ndim)
        content += struct.pack(f"<{array.ndim}I", *array.shape) + struct.pack(
            "<BI", kinds[array.dtype], array.nbytes
        )
        content += array.tobytes()
    state = convert_whisper.state_dict(convert_whisper.read_ctranslate2(content), layers=1)
    names = set(
        WhisperEncoder(
            {k: torch.from_numpy(v) for k, v in _padded(state).items()}, 2, EncoderConfig(layers=(1,), pool=1)
        ).state_dict()
    )
    assert set(state) == names | {"positions"}
    np.testing.assert_array_equal(state["blocks.0.widen.weight"], arrays["encoder/layer_0/ffn/linear_0/weight"])
    np.testing.assert_array_equal(
        state["blocks.0.before_feed.bias"], arrays["encoder/layer_0/ffn/layer_norm/beta"]
    )


def _padded(state: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.float32]]:
    """The same names with the shapes of an encoder of width 4."""
    shapes = {
        "conv1.weight": (4, 80, 3), "conv2.weight": (4, 4, 3), "blocks.0.query_key_value.weight": (12, 4),
        "blocks.0.query_key_value.bias": (12,), "blocks.0.widen.weight": (16, 4), "blocks.0.widen.bias": (16,),
        "blocks.0.narrow.weight": (4, 16),
    }  # fmt: skip
    return {name: np.zeros(shapes.get(name, array.shape), np.float32) for name, array in state.items()}


def test_unknown_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no speech encoder"):
        load(EncoderConfig(str(tmp_path / "nothing")))


def test_missing_layer_is_refused(model_home: Path) -> None:
    with pytest.raises(ModelError, match="has the layers 0 to 3, found 9"):
        load(EncoderConfig(str(model_home / "WavLM"), (9,), 1))
    with pytest.raises(ModelError, match="has the layers 0 to 2, found 5"):
        load(EncoderConfig("whisper-tiny.en", (5,), 1))


def test_missing_file_of_tuned_weights_is_named(tmp_path: Path) -> None:
    config = EncoderConfig(weights=str(tmp_path / "gone.safetensors"))
    with pytest.raises(ModelError, match=r"encoder.weights: cannot read .*gone\.safetensors"):
        stored_weights(config)
    with pytest.raises(ModelError, match=r"gone\.safetensors"):
        _ = FrontEnd(("logmel",), False, config).key


@pytest.mark.parametrize("attention_frames", [0, 3])
def test_frames_merged_before_the_layers_do_not_depend_on_padding(attention_frames: int) -> None:
    encoder = tiny.little_encoder(4, pool_first=True, attention_frames=attention_frames)
    feature = torch.from_numpy(np.random.default_rng(0).normal(-4, 1, (2, 161, 80)).astype(np.float32))
    samples = torch.tensor([161 * 160, 93 * 160])
    with torch.inference_mode():
        frames, counts = encoder(feature, samples)
        alone, count = encoder(feature[1:, :93], samples[1:])
    assert counts.tolist() == [21, 12] and count.tolist() == [12]
    torch.testing.assert_close(frames[1, :12], alone[0])


def test_limited_attention_keeps_distant_frames_apart() -> None:
    encoder = tiny.little_encoder(4, pool_first=True, attention_frames=3)
    feature = torch.from_numpy(np.random.default_rng(0).normal(-4, 1, (1, 320, 80)).astype(np.float32))
    feature[0, 0, 0] = 4.0  # the loudest band, which normalises both clips
    changed = feature.clone()
    changed[:, 160:] -= 1.0
    samples = torch.tensor([320 * 160])
    with torch.inference_mode():
        one, two = (encoder(view, samples)[0][0] for view in (feature, changed))
    reach = 2 * 3 + 1  # of two layers, and of the convolutions
    torch.testing.assert_close(one[: 20 - reach], two[: 20 - reach])
    assert not torch.allclose(one[20 - reach + 2 : 20], two[20 - reach + 2 : 20])
