"""One TOML file -> frozen dataclasses. An unknown key is an error, so a typing mistake trains nothing."""

from __future__ import annotations

import dataclasses
import math
import tomllib
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from mtqnet.errors import UsageError
from mtqnet.targets import KEYS, PEERS

LossKind = Literal["huber", "mse", "mae"]
FrontEnd = Literal["logmel", "spectrum", "sinc", "encoder"]


@dataclass(frozen=True)
class CorpusConfig:
    """What to build. Folders are relative to the data folder given on the command line."""

    speech: tuple[str, ...]
    noise: tuple[str, ...]
    rooms: tuple[str, ...] = ()
    train: int = 10_000
    validation: int = 800
    test: int = 800
    unseen: int = 400
    unseen2: int = 0
    """Clips of each split; `unseen` and `unseen2` went through codecs and suppressors that no other split has"""
    seed: int = 1
    split_seed: int = 0
    without: tuple[str, ...] = ()
    """Kinds of processing that are left out, because their tools are not installed"""
    weights: str = ""
    """Folder of the weights that no package contains, relative to the data folder; empty: that of MTQNET_WEIGHTS"""

    def __post_init__(self) -> None:
        if min(self.train, self.validation, self.test) < 2:
            raise UsageError("corpus.train, validation and test need 2 clips or more each")


@dataclass(frozen=True)
class EncoderConfig:
    """The speech encoder of the front end."""

    name: str = "whisper-tiny.en"
    """`whisper-tiny.en`, or a folder (or hub name) of a HuBERT, WavLM or wav2vec 2.0 model."""
    layers: tuple[int, ...] = (1, 2)
    """Outputs that are taken: 0 is the convolutional stem, n the n-th transformer layer."""
    pool: int = 2
    """Encoder frames (20 ms) that are averaged into one."""
    weights: str = ""
    """A model's .safetensors with an encoder that was tuned, in place of the named one's own weights"""

    def __post_init__(self) -> None:
        if not self.layers or min(self.layers) < 0 or self.pool < 1:
            raise UsageError("encoder.layers needs one layer or more, from 0 on, and encoder.pool 1 or more")


@dataclass(frozen=True)
class NetworkConfig:
    """The family's dimensions. MOSA-Net and MTQ-Net differ in their targets alone."""

    front_ends: tuple[FrontEnd, ...] = ("logmel", "encoder")
    merge: Literal["channel", "time"] = "channel"
    """How branches meet: side by side at one frame rate, or one after the other along time (the paper)."""
    peak_normalise: bool = False
    """Divide each clip by its peak first, as MOSA-Net does; off: the absolute level stays."""
    conv_channels: tuple[int, ...] = (8, 16, 32, 32)
    conv_depth: int = 1
    """Convolutions at each of these widths; the last of them has the strides."""
    norm: bool = False
    """Layer norm (Ba, Kiros and Hinton 2016) of a convolution's channels at each place, before its ReLU, and of
    each frame that the BLSTM sees. Such a network learns in half the steps."""
    time_strides: tuple[int, ...] = (2, 2, 1, 1)
    band_strides: tuple[int, ...] = (2, 2, 2, 2)
    adapter: int = 128
    """Width of an encoder frame after its dense layer"""
    lstm: int = 96
    """Units a direction"""
    dense: int = 128
    dropout: float = 0.2
    """Of what the heads see"""
    input_dropout: float = 0.0
    """Of what the BLSTM sees"""
    sigmoid: tuple[str, ...] = ()
    """Targets whose frame scores pass a sigmoid over their range (MOSA-Net: STOI)."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """What the front ends take: names of signal.features, and `encoder` for its frames."""
        return tuple(dict.fromkeys("wave" if name == "sinc" else name for name in self.front_ends))


@dataclass(frozen=True)
class LossConfig:
    """Which distance, and the weights of the sums."""

    kind: LossKind = "huber"
    delta: float = 1.0
    """Where Huber turns from square to straight, on the training scale: 1 is one MOS point"""
    frame_weight: float = 1.0
    """alpha: weight of the frame scores"""
    pseudo_weight: float = 1.0
    """gamma of the semi-supervised part"""
    pseudo_fade: bool = False
    """gamma falls to nothing over the run, as a cosine: S/N/G labels have the last word"""

    def gamma(self, progress: float) -> float:
        """Weight of the semi-supervised part at this share of all steps, 0 to 1."""
        return self.pseudo_weight * (0.5 * (1 + math.cos(math.pi * progress)) if self.pseudo_fade else 1.0)


@dataclass(frozen=True)
class FitConfig:
    """One run of the loop."""

    epochs: int = 15
    steps: int = 0
    """Batches an epoch; 0: as many as show every clip once"""
    batch: int = 32
    unlabelled_batch: int = 0
    """Clips without S/N/G labels that join each batch of clips with them; 0: both as they come. Needs `steps`."""
    frozen_epochs: int = 0
    """First epochs in which the heads learn alone; for a trunk that starts from the teacher's"""
    learning_rate: float = 1e-3
    """As `schedule` says"""
    schedule: Literal["cosine", "constant"] = "cosine"
    """cosine: up in the first tenth of all steps, then down to nothing; constant: as the paper's group trains"""
    weight_decay: float = 1e-2
    level_db: float = 10.0
    """Each training clip's level is moved by up to so much, up or down."""
    colour: float = 0.0
    """Chance that a training clip gets another microphone (colour.py). For clips that log-mel alone is seen of: in
    `tune`, and in `student` where the network has no other front end"""
    average: float = 0.0
    """Share of the running average of the weights that a step keeps; the average is judged and kept. 0: none"""

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch < 1 or self.learning_rate <= 0:
            raise UsageError("epochs and batch must be 1 or more, and learning_rate above 0")
        if not 0 <= self.colour <= 1:
            raise UsageError("colour is a chance, 0 to 1")
        if not 0 <= self.average < 1:
            raise UsageError("average must be 0 or more and less than 1")
        if self.unlabelled_batch and not self.steps:
            raise UsageError(
                "unlabelled_batch needs steps: one epoch of two kinds of clips has no length of its own"
            )


@dataclass(frozen=True)
class PeersConfig:
    """Predictors that learned from people, as further teachers."""

    heads: tuple[str, ...] = ()
    """Keys of targets.PEERS: both networks learn these too; no model serves them"""
    consensus: tuple[str, ...] = ()
    """Those of `heads` that the G-MOS label is averaged with (training/consensus.py)"""
    ensemble: bool = False
    """S-, N- and G-MOS labels are the label ensemble (labels/ensemble.py), with loss weights by disagreement. All
    predictors score the first `clips` training clips and all clips of the other splits"""
    clips: int = 0
    """Training clips that the predictors themselves score; MOSA-Net says it of the others. 0: all"""

    def __post_init__(self) -> None:
        if unknown := set(self.heads) - {target.key for target in PEERS}:
            known = ", ".join(target.key for target in PEERS)
            raise UsageError(f"unknown score {sorted(unknown)[0]!r} in peers.heads; there are {known}")
        if self.ensemble and self.consensus:
            raise UsageError("peers.ensemble replaces peers.consensus: set one of them")
        if others := set(self.consensus) - set(self.heads):
            raise UsageError(f"peers.consensus has {sorted(others)[0]!r}, which is not in peers.heads")


@dataclass(frozen=True)
class DistilConfig:
    """How a small network is taught by a model."""

    teacher: str = "base"
    """A shipped model, or the path of an .onnx file"""
    share: float = 0.7
    """Weight of the teacher's scores in the labels of clips that have their own, 0 to 1; others have only these"""
    hint: float = 0.0
    """Weight of the distance from the frames that the teacher makes its scores of (hints.py); 0: scores alone"""

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise UsageError("distil.share is a share, 0 to 1")
        if self.hint < 0:
            raise UsageError("distil.hint is a weight, 0 or more")


@dataclass(frozen=True)
class MachineConfig:
    """What a GPU may do faster. On a CPU `bf16` and `compile` cost more than they bring."""

    bf16: bool = False
    """Products in 16-bit floats (bfloat16), by torch.autocast; weights and loss stay 32-bit"""
    compile: bool = False
    """torch.compile: each new length of a batch costs a first time"""
    bf16_encoder: bool = False
    """The same as `bf16` for an encoder that learns, alone: half the time on a processor with AVX512-BF16"""


@dataclass(frozen=True)
class Config:
    """A whole model."""

    name: str
    corpus: CorpusConfig
    seed: int = 1
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    teacher_loss: LossConfig = field(default_factory=LossConfig)
    teacher: FitConfig = field(default_factory=FitConfig)
    student: FitConfig = field(default_factory=FitConfig)
    peers: PeersConfig = field(default_factory=PeersConfig)
    distil: DistilConfig = field(default_factory=DistilConfig)
    """For `mtqnet train` with a [distil] section alone"""
    machine: MachineConfig = field(default_factory=MachineConfig)
    int8: bool = False
    """The exported graph has 8-bit weights in its matrix products (quantise.py). Its `.safetensors` has 32 bits:
    what is tuned or differentiated is that, and it says a little other things"""
    tune_encoder: bool = False
    """Whether encoder and network learn together after MPL (end_to_end.py)"""
    tune: FitConfig = field(default_factory=lambda: FitConfig(epochs=3, learning_rate=5e-4))
    tune_loss: LossConfig = field(default_factory=lambda: LossConfig(pseudo_weight=0.5))
    encoder_share: float = 0.2
    """Of the learning rate of `tune`: the encoder's"""
    tuned_share: float = 1.0
    """Of the weights that `tune` left; the rest are those before it, which do better on strange recordings"""
    transfer: bool = False
    """MTQ-Net starts from MOSA-Net's weights, its heads for S-, N- and G-MOS from drawn ones"""

    def __post_init__(self) -> None:
        widths = len(self.network.conv_channels)
        if not len(self.network.time_strides) == len(self.network.band_strides) == widths:
            raise UsageError("conv_channels, time_strides and band_strides need one entry each per block")
        if self.tune_encoder and "encoder" not in self.network.front_ends:
            raise UsageError("tune_encoder = true needs 'encoder' in network.front_ends")
        if not 0 <= self.tuned_share <= 1:
            raise UsageError("tuned_share is a share, 0 to 1")
        if unknown := set(self.network.sigmoid) - set(KEYS):
            raise UsageError(f"unknown target {sorted(unknown)} in network.sigmoid")


def load(path: Path) -> Config:
    """Read a configuration. UsageError for a missing file, bad TOML, an unknown key or a wrong type."""
    try:
        table = tomllib.loads(path.read_text())
    except OSError as error:
        raise UsageError(f"no configuration {path}: try configs/base.toml") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is not TOML: {error}") from error
    return build(Config, table, path.name)


Built = TypeVar("Built")


def build(kind: type[Built], table: dict[str, Any], where: str) -> Built:
    """A dataclass from a table, all the way down. Raises UsageError."""
    hints = typing.get_type_hints(kind)
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    if unknown := sorted(set(table) - set(fields)):
        raise UsageError(f"{where}: unknown key {unknown[0]!r}; known: {', '.join(fields)}")
    needed = [n for n, f in fields.items() if f.default is f.default_factory is dataclasses.MISSING]
    if missing := [name for name in needed if name not in table]:
        raise UsageError(f"{where}: {missing[0]!r} is missing")
    values = {name: _convert(hints[name], value, f"{where}, {name}") for name, value in table.items()}
    return kind(**values)


def _convert(hint: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, dict):
            raise UsageError(f"{where} must be a table")
        return build(hint, value, where)
    origin = typing.get_origin(hint)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise UsageError(f"{where} must be a list")
        return tuple(_convert(typing.get_args(hint)[0], entry, where) for entry in value)
    if origin is Literal:
        if value not in typing.get_args(hint):
            raise UsageError(f"{where}: {value!r} is none of {', '.join(typing.get_args(hint))}")
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (hint is not bool and isinstance(value, bool)):
        raise UsageError(f"{where}: expected {getattr(hint, '__name__', hint)}, got {value!r}")
    return value
