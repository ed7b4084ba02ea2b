"""Training and export of research/neural, with untrained networks."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from numpy.typing import NDArray

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from mtqnet.corpus.degradations import generative  # noqa: E402
from mtqnet.corpus.degradations.step import hann, samples_of, spectra  # noqa: E402
from research.neural import train  # noqa: E402
from research.neural.data import Material, noisy_batch, speech_batch  # noqa: E402
from research.neural.enhancer import Enhancer, compress, expand  # noqa: E402
from research.neural.export import export, load  # noqa: E402
from research.neural.layers import Spectra, parameters  # noqa: E402
from research.neural.vocoder import Vocoder  # noqa: E402

Samples = NDArray[np.float32]


@pytest.mark.parametrize(("window", "hop"), [(hann(512), 128), (np.sqrt(hann(512)), 256)])
def test_transform_of_training_and_of_the_steps_agree(window: NDArray[np.float64], hop: int) -> None:
    samples = np.random.default_rng(0).standard_normal(40 * hop).astype(np.float32)
    transform = Spectra(512, hop, torch.tensor(window, dtype=torch.float32))
    made = transform(torch.from_numpy(samples)[None])
    np.testing.assert_allclose(made[0].numpy(), spectra(samples, window, hop), atol=1e-4)
    inverse = transform.inverse(made, len(samples))[0].numpy()
    np.testing.assert_allclose(inverse, samples_of(made[0].numpy(), window, hop, len(samples)), atol=1e-5)


def test_mel_bands_of_training_and_of_the_step_agree() -> None:
    spectrum = np.random.default_rng(0).standard_normal((2, 257, 9)).astype(np.float32)
    made = Vocoder().mel(torch.from_numpy(spectrum)[None])[0].numpy()
    np.testing.assert_allclose(made, generative.log_mel(spectrum), atol=1e-4)


def test_sizes_are_small() -> None:
    assert parameters(Vocoder()) < 2_000_000 and parameters(Enhancer()) < 2_000_000


def test_compression_is_inverted() -> None:
    spectrum = torch.randn(2, 2, 257, 5)
    torch.testing.assert_close(expand(compress(spectrum)), spectrum, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("kind", [Vocoder, Enhancer])
def test_graph_agrees_with_the_network(kind: type[Vocoder | Enhancer], tmp_path: Path) -> None:
    torch.manual_seed(0)
    assert export(kind().eval(), tmp_path / "network.onnx") > 30
    assert (tmp_path / "network.onnx").stat().st_size < 1_700_000


def test_a_graph_that_differs_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("research.neural.export.compare", lambda *_: 10.0)
    with pytest.raises(ValueError, match=r"10\.0 dB"):
        export(Enhancer().eval(), tmp_path / "network.onnx")
    assert not list(tmp_path.iterdir())


@pytest.fixture
def source(talker: Callable[..., Samples]) -> Material:
    recording = (32767 * talker(2.0)).astype(np.int16)
    noise = (3000 * np.random.default_rng(1).standard_normal(8000)).astype(np.int16)
    frames = 1 + len(recording) // 128
    return Material({"a": [recording]}, {"n": [noise]}, {id(recording): (np.full(frames, 120.0), np.ones(frames))})


def test_batches_have_the_levels_and_shapes_of_inference(source: Material) -> None:
    samples, pitch, pulses, noise = speech_batch(source, 3, 12_800, np.random.default_rng(0))
    assert samples.shape == pulses.shape == noise.shape == (3, 12_800) and pitch.shape == (3, 2, 101)
    clean, noisy = noisy_batch(source, 8, 12_800, np.random.default_rng(0))
    levels = 10 * np.log10(np.mean(noisy**2, axis=1))
    assert np.all(np.abs(levels + 26) < 3.01)
    assert np.mean((noisy - clean) ** 2) > 0


@pytest.mark.parametrize("kind", ["vocoder", "enhancer"])
def test_training_resumes_from_its_checkpoint(
    kind: str, tmp_path: Path, talker: Callable[..., Samples], monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder, count in (("speech", 4), ("noise", 4)):
        for number in range(count):
            path = tmp_path / folder / f"{number}" / "a.wav"
            path.parent.mkdir(parents=True)
            sf.write(path, talker(2.0, seed=number), 16_000)

    def run(steps: int, adversarial_from: int) -> None:
        options = ["--speech", tmp_path / "speech", "--noise", tmp_path / "noise", "--out", tmp_path / "run"]
        numbers = ["--steps", steps, "--batch", 2, "--seconds", 0.512, "--adversarial-from", adversarial_from]
        monkeypatch.setattr(sys, "argv", ["train", kind, *map(str, (*options, *numbers))])
        train.main()

    run(2, 2)
    run(4, 2)
    state = torch.load(tmp_path / "run" / "last.pt", weights_only=True)
    assert state["step"] == 4 and not list((tmp_path / "run").glob("*.unfinished"))
    first, second = (load(tmp_path / "run" / f"step-{step}.pt").state_dict() for step in (2, 4))
    assert any(not torch.equal(first[name], second[name]) for name in first)
