"""Signals and models that tests share, without torch and without network access."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile as sf
from numpy.typing import NDArray

from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.corpus.degradations import STEPS, missing
from mtqnet.corpus.sources import SHARES, Pool, Sources, Split, pools, split_of

if TYPE_CHECKING:
    import subprocess

    import httpx
    from running import Server

    from research.experiments.arms import Lab

Samples = NDArray[np.float32]

FIRST = (
    "end_to_end/test_chain", "integrations/ray/test_engine", "experiments", "end_to_end", "benchmarks",
    "serving/test_page", "training/test_finetune", "corpus/test_build", "training/test_export",
    "serving", "research",
)  # fmt: skip
"""Modules and folders of the tests that take longest, in the order in which they begin"""
TOGETHER = ("experiments",)
"""Folders whose modules share an expensive fixture, so that one process runs them all"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long ones first: begun last, they would leave the other processes waiting."""

    def place(item: pytest.Item) -> int:
        module = item.nodeid.removeprefix("tests/")
        return next((n for n, start in enumerate(FIRST) if module.startswith(start)), len(FIRST))

    items.sort(key=place)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """As --dist loadfile, with the folders of TOGETHER as one file each."""
    from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]

    scheduler: Any = LoadFileScheduling(config, log)
    module_of = scheduler._split_scope

    def scope(nodeid: str) -> str:
        module: str = module_of(nodeid)
        inside = module.removeprefix("tests/")
        return next((folder for folder in TOGETHER if inside.startswith(f"{folder}/")), module)

    scheduler._split_scope = scope
    return scheduler


TOY_GRAPH = """
<ir_version: 8, opset_import: ["" : 17]>
toy (float[batch, rows, 80] logmel, int64[batch] samples)
    => (float[batch, 6] values, float[batch, rows, 6] frames, int64[batch] frame_counts)
<float[6] slope = {0.5, 0.6, 0.4, 0.3, 0.1, 0.5}, float[6] offset = {6.85, 7.6, 6.1, 4.8, 1.37, 4.35},
 int64 hop = {160}, int64 zero = {0}, int64 one = {1}, int64 row_axis = {1}, int64[1] rows_at = {1},
 int64[1] width_at = {2}>
{
    frame_counts = Div(samples, hop)
    shape = Shape(logmel)
    rows = Gather(shape, row_axis)
    order = Range(zero, rows, one)
    counts = Unsqueeze(frame_counts, rows_at)
    inside = Less(order, counts)
    mask = Cast<to = 1>(inside)
    masks = Unsqueeze(mask, width_at)
    level = ReduceMean<axes = [2], keepdims = 1>(logmel)
    scaled = Mul(level, slope)
    frames = Add(scaled, offset)
    kept = Mul(frames, masks)
    exact = Cast<to = 11>(kept)
    sums = ReduceSum<keepdims = 0>(exact, rows_at)
    length = Cast<to = 11>(counts)
    means = Div(sums, length)
    values = Cast<to = 1>(means)
}
"""
"""The contract of scoring/runtime.py in its smallest form: each target is a line in the mean log-mel
level, in the middle of its range for the voice below; white noise is beyond the end.
The mean is in double precision: a float32 sum of hundreds of rows depends on the padding in figure 6."""


@pytest.fixture(scope="session")
def make_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Writes a small model; keyword arguments change its record."""
    import onnx
    from onnx import parser

    graph: bytes = parser.parse_model(TOY_GRAPH).SerializeToString()
    onnx.checker.check_model(graph)

    def make(**changes: Any) -> Path:
        path = tmp_path_factory.mktemp("model") / "toy.onnx"
        path.write_bytes(graph)
        record = {
            "name": "toy",
            "targets": ["s_mos", "n_mos", "g_mos", "pesq_est", "stoi_est", "sdi_est"],
            "features": ["logmel"],
            "peak_normalise": False,
            "frame_rate_hz": 100.0,
            "sha256": hashlib.sha256(graph).hexdigest(),
            "licence": "MIT",
        }
        path.with_suffix(".json").write_text(json.dumps(record | changes))
        return path

    return make


@pytest.fixture(scope="session")
def toy_model(make_model: Callable[..., Path]) -> Path:
    """An .onnx file with the inputs and outputs of a model, whose scores do not depend on speech."""
    return make_model()


@pytest.fixture(scope="session")
def voice() -> Callable[..., Samples]:
    """A signal similar to speech: voiced syllables with formants, and pauses; -26 dBov by default."""
    return voice_like


def voice_like(seconds: float = 3.0, rate: int = SAMPLE_RATE, level_db: float = -26.0, seed: int = 0) -> Samples:
    """(seconds * rate,): harmonics up to 3.4 kHz of a gliding pitch, syllables at 4 Hz, a pause each second.

    With the same duration and seed, the signal is the same at every rate; `level_db` is the RMS level in dBov.
    """
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    glide = 2 * np.pi * 0.7
    phase = 2 * np.pi * (120 * time - 20 / glide * np.cos(glide * time + rng.uniform(0, 6)))
    sound = np.zeros_like(time)
    for harmonic in range(1, 24):
        formants = sum(np.exp(-(((harmonic * 120 - centre) / 250) ** 2)) for centre in (500, 1500, 2500))
        sound += (formants + 0.05) / harmonic**0.5 * np.sin(harmonic * phase + rng.uniform(0, 6))
    syllables = np.maximum(0.0, np.sin(2 * np.pi * 4 * time)) * (time % 1.0 < 0.75)
    sound *= syllables
    sound *= 10 ** (level_db / 20) / np.sqrt(np.mean(sound**2))
    return sound.astype(np.float32)


@pytest.fixture(scope="session")
def bad_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Recordings that nobody can score, by what is wrong with them. `missing` is not there at all."""
    folder = tmp_path_factory.mktemp("bad")
    files = {
        kind: folder / f"{kind}.wav"
        for kind in ("empty", "header", "short", "silent", "constant", "nan", "text", "missing")
    }
    files["empty"].write_bytes(b"")
    files["text"].write_text("Dear sir, this is a letter.\n" * 40)
    contents = {
        "header": np.zeros(0),
        "short": voice_like(0.01),
        "silent": np.zeros(2 * SAMPLE_RATE),
        "constant": np.full(2 * SAMPLE_RATE, 0.5),
        "nan": np.where(np.arange(2 * SAMPLE_RATE) == 777, np.nan, voice_like(2.0)),
    }
    for kind, samples in contents.items():
        sf.write(files[kind], samples, SAMPLE_RATE, subtype="FLOAT")
    return files


@pytest.fixture(scope="session")
def good_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("good") / "good.wav"
    sf.write(path, voice_like(3.0), SAMPLE_RATE)
    return path


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Recordings in ../shared; the test is skipped without them."""
    folder = Path(__file__).resolve().parents[1] / "../shared/data"
    if not folder.is_dir():
        pytest.skip("no recordings in ../shared/data")
    return folder


@pytest.fixture(scope="session")
def talker() -> Callable[..., Samples]:
    """Like `voice`, but up to 8 kHz, with vowels and consonants; each seed is a speaker. Slower, more similar to
    speech."""
    return talker_like


VOWELS_HZ = ((730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480), (570, 840, 2410))
"""Formants of five vowels (Peterson and Barney 1952)."""


def talker_like(seconds: float = 4.0, seed: int = 0, level_db: float = -26.0) -> Samples:
    """(seconds * 16000,): vowels of a pulse train through formants, hisses, and pauses; RMS in dBov."""
    rng = np.random.default_rng(seed)
    pitch, tract = rng.uniform(90, 220), rng.uniform(0.9, 1.15)
    pieces: list[NDArray[np.float64]] = []
    while sum(map(len, pieces)) < seconds * SAMPLE_RATE:
        if rng.random() < 0.6:
            pieces.append(_hiss(rng))
        pieces.append(_vowel(rng, pitch, tract))
        pieces.append(np.zeros(round((0.35 if rng.random() < 0.2 else 0.03) * SAMPLE_RATE)))
    sound = np.concatenate(pieces)[: round(seconds * SAMPLE_RATE)]
    sound *= 10 ** (level_db / 20) / np.sqrt(np.mean(sound**2))
    return sound.astype(np.float32)


def _vowel(rng: np.random.Generator, pitch: float, tract: float) -> NDArray[np.float64]:
    length = round(rng.uniform(0.12, 0.25) * SAMPLE_RATE)
    hertz = np.fft.rfftfreq(length, 1 / SAMPLE_RATE)
    glide = pitch * np.linspace(rng.uniform(0.9, 1.2), rng.uniform(0.8, 1.05), length)
    pulses = np.diff(np.floor(np.cumsum(glide) / SAMPLE_RATE), prepend=0.0)
    breath = 0.01 * rng.standard_normal(length)
    shape = np.zeros_like(hertz)
    for formant in (*VOWELS_HZ[rng.integers(len(VOWELS_HZ))], 3500, 4500, 5800):
        shape += np.exp(-formant / 1500) / (1 + ((hertz - formant * tract) / (60 + formant / 20)) ** 2)
    vowel: NDArray[np.float64] = np.fft.irfft(np.fft.rfft(pulses + breath) * shape, length)
    return vowel * np.sqrt(np.hanning(length))


def _hiss(rng: np.random.Generator) -> NDArray[np.float64]:
    length = round(rng.uniform(0.06, 0.14) * SAMPLE_RATE)
    hertz = np.fft.rfftfreq(length, 1 / SAMPLE_RATE)
    shape = 0.02 * np.exp(-(((hertz - rng.uniform(3500, 6000)) / 1500) ** 2))
    hiss: NDArray[np.float64] = np.fft.irfft(np.fft.rfft(rng.standard_normal(length)) * shape, length)
    return hiss * np.hanning(length)


@dataclass(frozen=True)
class Material:
    """Folders that a corpus can be built from: two speakers and two noise files in each split of seed 0."""

    speech: Path
    noise: Path
    rooms: Path


@pytest.fixture(scope="session")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    """Generated talkers with LibriSpeech's names, generated noises, and one room response."""
    root = tmp_path_factory.mktemp("material")
    made = Material(root / "speech", root / "noise", root / "rooms")
    for number, speaker in enumerate(_two_of_each_split("{}", range(100, 1000))):
        folder = made.speech / speaker / "7"
        folder.mkdir(parents=True)
        for utterance in range(2):
            sound = talker_like(4.0, seed=10 * number + utterance)
            sf.write(folder / f"{speaker}-7-{utterance:04d}.flac", sound, SAMPLE_RATE)
    made.noise.mkdir()
    for number, name in enumerate(_two_of_each_split("noise/hum_{}.wav", range(1000))):
        sf.write(root / name, _hum(number), SAMPLE_RATE)
    made.rooms.mkdir()
    time = np.arange(SAMPLE_RATE // 2) / SAMPLE_RATE
    tail = 0.05 * np.random.default_rng(9).standard_normal(len(time)) * 10 ** (-3 * time / 0.4)
    tail[40] = 0.8  # the direct path comes 2.5 ms late, as in a measured response
    sf.write(made.rooms / "office.wav", tail, SAMPLE_RATE)
    return made


@pytest.fixture(scope="session")
def sources(material: Material) -> Sources:
    return Sources((material.speech,), (material.noise,), (material.rooms,))


@pytest.fixture(scope="session")
def split_pools(sources: Sources) -> dict[Split, Pool]:
    return pools(sources, split_seed=0)


@pytest.fixture(scope="session")
def full_pool(split_pools: dict[Split, Pool]) -> Pool:
    """Everything at once, the only room among it."""
    speech, noise, rooms = (
        tuple(item for split in SHARES for item in getattr(split_pools[split], part))
        for part in ("speech", "noise", "rooms")
    )
    return Pool(speech, noise, rooms, tuple(kind for kind in STEPS if missing(kind)))


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory, talker: Callable[..., Samples]) -> Lab:
    """Two dozen clips of a corpus and generated ratings, for tests of the experiments."""
    import laboratory  # lies beside the tests of experiments/

    return laboratory.made(tmp_path_factory.mktemp("lab"), talker)


@pytest.fixture(scope="session")
def ran(lab: Lab) -> Lab:
    """The same after every kind of arm was run with two seeds."""
    import laboratory

    laboratory.run_all(lab)
    return lab


@pytest.fixture(scope="session")
def serving(tmp_path_factory: pytest.TempPathFactory, toy_model: Path) -> Iterator[Server]:
    """`mtqnet serve` in a process of its own, for all tests that leave it as it is."""
    import running  # lies beside the tests of service/

    with running.usual_server(tmp_path_factory.mktemp("serving"), toy_model) as served:
        yield served


@pytest.fixture
def client(serving: Server) -> Iterator[httpx.Client]:
    with serving.client() as opened:
        yield opened


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty database."""
    import running

    return running.empty_database(request.param, tmp_path)


@pytest.fixture(scope="session")
def run() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `mtqnet` with these arguments within this process; a warning is an error."""
    import command_line

    return command_line.call


@pytest.fixture(scope="session")
def examples() -> Path:
    """The recordings that come with the project: a synthesiser's voice, clean and degraded in six ways."""
    return Path(__file__).resolve().parents[1] / "examples" / "recordings"


def write_csv(path: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    """A table with the columns of its first row."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture(scope="session")
def write() -> Callable[[Path, Sequence[Mapping[str, object]]], Path]:
    return write_csv


def _two_of_each_split(pattern: str, numbers: range) -> list[str]:
    names: list[str] = []
    for split in SHARES:
        inside = (n for n in map(pattern.format, numbers) if split_of(n, 0) == split)
        names += [next(inside), next(inside)]
    return names


def _hum(seed: int, seconds: float = 3.0) -> Samples:
    """Noise that falls by 6 dB an octave and swells."""
    rng = np.random.default_rng(seed)
    length = round(seconds * SAMPLE_RATE)
    hertz = np.maximum(np.fft.rfftfreq(length, 1 / SAMPLE_RATE), 100.0)
    noise = np.fft.irfft(np.fft.rfft(rng.standard_normal(length)) * 100 / hertz, length)
    noise *= 1 + 0.5 * np.sin(2 * np.pi * np.arange(length) / SAMPLE_RATE * rng.uniform(0.3, 2))
    return np.asarray(0.1 * noise / np.abs(noise).max(), dtype=np.float32)
