"""Configuration of a training run: one TOML file, read into frozen dataclasses.

An unknown key is an error, so that a typing mistake cannot change a training silently.
"""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from mtqnet.errors import UsageError
from mtqnet.evaluation.tables import read_toml
from mtqnet.targets import PEERS

LossKind = Literal["huber", "mse", "mae"]
FrontEndName = Literal["logmel", "spectrum", "encoder"]
Method = Literal["mpl", "scratch", "transfer"]
MOSA_NET = "mosa-net"
"""Name of the shipped MOSA-Net"""


@dataclass(frozen=True)
class CorpusConfig:
    """The simulated corpus. Folders are relative to the data folder of the command line."""

    speech: tuple[str, ...]
    noise: tuple[str, ...]
    rooms: tuple[str, ...] = ()
    train: int = 10_000
    """Number of training clips"""
    validation: int = 800
    test: int = 800
    unseen: int = 400
    unseen2: int = 0
    """Number of test clips whose codecs and noise suppressors occur in no other split, like those of `unseen`"""
    seed: int = 1
    without: tuple[str, ...] = ()
    """Kinds of processing that are omitted, because their tools are not installed"""

    def __post_init__(self) -> None:
        if min(self.train, self.validation, self.test) < 2:
            raise UsageError("corpus.train, corpus.validation and corpus.test must be at least 2 clips each")


@dataclass(frozen=True)
class RatingsConfig:
    """Tables of ratings as training data (tables.py). Names are relative to the data folder."""

    labels: tuple[str, ...] = ()
    """Tables as for `mtqnet evaluate`; file names in them are relative to the folder of the table"""
    by: str = ""
    """Grouping column, such as the speaker: a group is never divided between training and test data"""
    split: str = ""
    """Column that names the split of each recording: train, validation, calibration or test; empty: by group"""
    unlabelled: tuple[str, ...] = ()
    """Folders of recordings that have pseudo labels only"""
    reference: str = ""
    """Column with the clean reference of each recording, from which true PESQ, STOI and SDI are computed"""
    true_values: bool = False
    """Whether true PESQ, STOI and SDI replace the pseudo labels where they are known"""
    weight: float = 1.0
    """Weight of the tables in the loss, if there is a corpus too"""
    corpus_weight: float = 1.0
    """Weight of the corpus in the loss"""
    columns: tuple[str, ...] = ()
    """Columns that are not found by their names, such as "s_mos=SIG" or "file=NAME" """

    def __post_init__(self) -> None:
        if not (0 <= self.weight < math.inf and 0 <= self.corpus_weight < math.inf):
            raise UsageError(
                f"ratings.weight and ratings.corpus_weight must not be negative, found {self.weight:g} and "
                f"{self.corpus_weight:g}"
            )


@dataclass(frozen=True)
class EncoderConfig:
    """The pretrained speech encoder of the front end."""

    name: str = "whisper-tiny.en"
    """`whisper-tiny.en`, or a folder or hub name of a HuBERT, WavLM or wav2vec 2.0 model"""
    layers: tuple[int, ...] = (1, 2)
    """Outputs that are concatenated: 0 is the convolutional stem, n is the n-th transformer layer"""
    pool: int = 2
    """Number of encoder frames of 20 ms that are averaged into one"""
    weights: str = ""
    """A shipped model, or a model's .safetensors file, with a tuned encoder; its weights replace those of the named
    encoder"""
    pool_first: bool = False
    """Whether frames are averaged before the transformer layers instead of after them, which takes a third of the
    time (Whisper only)"""
    attention_frames: int = 0
    """Frames on either side that the layers attend to; 0: the whole clip (Whisper only)"""

    def __post_init__(self) -> None:
        if not self.layers or min(self.layers) < 0 or self.pool < 1:
            raise UsageError(
                f"encoder.layers must be one or more layers from 0 on and encoder.pool at least 1, found "
                f"{list(self.layers)} and {self.pool}"
            )


@dataclass(frozen=True)
class NetworkConfig:
    """Dimensions of the network. MOSA-Net and MTQ-Net differ only in their targets."""

    front_ends: tuple[FrontEndName, ...] = ("logmel", "encoder")
    peak_normalise: bool = False
    """Whether each clip is divided by its peak before the features are computed; if not, its level is kept"""
    conv_channels: tuple[int, ...] = (8, 16, 32, 32)
    norm: bool = False
    """Whether layer normalisation (Ba, Kiros and Hinton 2016) follows each convolution and precedes the BLSTM"""
    time_strides: tuple[int, ...] = (2, 2, 1, 1)
    band_strides: tuple[int, ...] = (2, 2, 2, 2)
    adapter: int = 128
    """Width of an encoder frame after its dense layer"""
    lstm: int = 96
    """Number of LSTM units per direction"""
    dense: int = 128
    dropout: float = 0.2
    """Dropout before the heads"""
    input_dropout: float = 0.0
    """Dropout before the BLSTM"""
    attention_frames: int = 0
    """Frames on either side that the heads attend to; 0: the whole clip"""
    causes: bool = False
    """Whether MTQ-Net also predicts the kinds of degradation (mtqnet.causes)"""
    distance: bool = False
    """Whether the model returns the distance of a recording from the training clips, on which the width of its
    intervals depends"""

    def __post_init__(self) -> None:
        if not len(self.time_strides) == len(self.band_strides) == len(self.conv_channels):
            raise UsageError(
                "network.conv_channels, network.time_strides and network.band_strides must have the same length, "
                f"found {len(self.conv_channels)}, {len(self.time_strides)} and {len(self.band_strides)}"
            )


@dataclass(frozen=True)
class LossConfig:
    """Distance between scores and labels, and the weights of its terms."""

    kind: LossKind = "huber"
    delta: float = 1.0
    """Error at which the Huber loss becomes linear, on the training scale, where 1 is one MOS"""
    frame_weight: float = 1.0
    """Weight of the frame scores, alpha in MOSA-Net's paper"""
    pseudo_weight: float = 1.0
    """Weight of the semi-supervised loss, gamma"""
    pseudo_fade: bool = False
    """Whether gamma decreases to 0 over the run along a cosine"""
    rank_weight: float = 0.0
    """Weight of the differences between clips of the same recording of speech, which are drawn in pairs then"""

    def gamma(self, progress: float) -> float:
        """Return the weight of the semi-supervised loss at this fraction (0 to 1) of all steps."""
        return self.pseudo_weight * (0.5 * (1 + math.cos(math.pi * progress)) if self.pseudo_fade else 1.0)


@dataclass(frozen=True)
class FitConfig:
    """One run of the training loop."""

    epochs: int = 15
    steps: int = 0
    """Batches per epoch; 0: as many as contain every clip once"""
    batch: int = 32
    unlabelled_batch: int = 0
    """Number of clips without S/N/G labels that are added to each batch of labelled clips; 0: clips of both kinds
    are drawn together. Needs `steps`"""
    frozen_epochs: int = 0
    """Number of first epochs in which only the heads are trained"""
    learning_rate: float = 1e-3
    """Peak learning rate: it increases linearly over the first tenth of all steps, then decreases along a
    cosine"""
    level_db: float = 10.0
    """The level of each training clip is changed at random by up to this many dB, in both directions"""
    augment: float = 0.0
    """Probability of spectral augmentation by a random microphone response. Only for training stages
    whose input is log-mel alone: `tune`, and `student` of a network without other front ends"""
    mix: float = 0.0
    """Fraction of the clips of which a piece is replaced by a piece of another clip; only for log-mel"""
    ema_decay: float = 0.0
    """Decay of the exponential moving average of the weights, which is validated and kept; 0: no average"""

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch < 1 or self.learning_rate <= 0:
            raise UsageError(
                "epochs and batch must be at least 1 and learning_rate above 0, found "
                f"{self.epochs}, {self.batch} and {self.learning_rate:g}"
            )
        if not 0 <= self.augment <= 1:
            raise UsageError(f"augment is a probability from 0 to 1, found {self.augment:g}")
        if not 0 <= self.ema_decay < 1:
            raise UsageError(f"ema_decay must be at least 0 and below 1, found {self.ema_decay:g}")
        if self.unlabelled_batch and not self.steps:
            raise UsageError("unlabelled_batch needs steps, the number of batches per epoch: set both")


@dataclass(frozen=True)
class ExistingModelsConfig:
    """Existing predictors that were trained on human ratings, as additional teachers."""

    heads: tuple[str, ...] = ()
    """Keys of `targets.PEERS` that both networks are trained on; the exported model does not contain them"""
    ensemble: bool = False
    """Whether S-, N- and G-MOS labels are the label ensemble (corpus/ensemble.py), with loss weights that depend on
    the disagreement of its sources. All predictors score the first `clips` training clips and all clips of the other
    splits; MOSA-Net predicts those of `heads` for the other training clips"""
    clips: int = 0
    """Number of training clips that the predictors score; MOSA-Net predicts their scores of the others. 0: all"""

    def __post_init__(self) -> None:
        if unknown := set(self.heads) - {target.key for target in PEERS}:
            known = ", ".join(target.key for target in PEERS)
            raise UsageError(f"existing_models.heads: unknown score {sorted(unknown)[0]!r}; known scores: {known}")


@dataclass(frozen=True)
class DistillConfig:
    """Distillation of a model into a small network."""

    teacher: str = "base"
    """A shipped model, or the path of an .onnx file"""
    teacher_weight: float = 0.7
    """Weight, 0 to 1, of the teacher's scores in the labels of clips that have labels; others use the scores
    alone"""
    feature_distillation: float = 0.0
    """Weight of the distance from the teacher's intermediate features (distill.py); 0: scores only"""

    def __post_init__(self) -> None:
        if not 0 <= self.teacher_weight <= 1:
            raise UsageError(f"distill.teacher_weight must be from 0 to 1, found {self.teacher_weight:g}")
        if self.feature_distillation < 0:
            raise UsageError(
                f"distill.feature_distillation must not be negative, found {self.feature_distillation:g}"
            )


@dataclass(frozen=True)
class NewToolsConfig:
    """How much larger the errors are after codecs and suppressors that the training does not contain, by target.

    The intervals are calibrated with the errors of clips that went through a codec or suppressor, multiplied by these
    factors. research/left_out_tools.py measures them.
    """

    s_mos: float = 1.0
    n_mos: float = 1.0
    g_mos: float = 1.0
    pesq_est: float = 1.0
    stoi_est: float = 1.0
    sdi_est: float = 1.0

    def __post_init__(self) -> None:
        if min(vars(self).values()) < 1:
            raise UsageError(f"[new_tools]: factors must be at least 1, found {min(vars(self).values()):g}")


@dataclass(frozen=True)
class MachineConfig:
    """Options for faster hardware. On a CPU `bf16` and `compile` make training slower."""

    bf16: bool = False
    """Whether matrix products use bfloat16 (torch.autocast); weights and loss have 32 bits"""
    compile: bool = False
    """Whether torch.compile is used; the first batch of each length takes longer"""
    bf16_encoder: bool = False
    """Like `bf16`, only for an encoder that is trained: half the time on a CPU with AVX512-BF16"""


@dataclass(frozen=True)
class Config:
    """Everything that determines a model."""

    name: str
    corpus: CorpusConfig = field(default_factory=lambda: CorpusConfig((), ()))
    """Without folders of speech there is no corpus; then [ratings] names the training data"""
    seed: int = 1
    method: Method = "mpl"
    """mpl: multi-task pseudo-label learning; scratch: S-, N- and G-MOS labels alone; transfer: the same, with the
    network initialised from MOSA-Net"""
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    teacher_loss: LossConfig = field(default_factory=LossConfig)
    teacher: FitConfig = field(default_factory=FitConfig)
    student: FitConfig = field(default_factory=FitConfig)
    existing_models: ExistingModelsConfig = field(default_factory=ExistingModelsConfig)
    distill: DistillConfig = field(default_factory=DistillConfig)
    """Used if the configuration has a [distill] section, which makes `mtqnet train` distil a model"""
    new_tools: NewToolsConfig = field(default_factory=NewToolsConfig)
    machine: MachineConfig = field(default_factory=MachineConfig)
    int8: bool = False
    """Whether the exported graph uses 8-bit weights in its matrix products. The .safetensors file has 32-bit
    weights, so fine-tuning and gradients use scores that differ slightly"""
    tune_encoder: bool = False
    """Whether encoder and network are trained together after MPL (mpl.MPL.tune)"""
    tune: FitConfig = field(default_factory=lambda: FitConfig(epochs=3, learning_rate=5e-4))
    tune_loss: LossConfig = field(default_factory=lambda: LossConfig(pseudo_weight=0.5))
    encoder_rate: float = 0.2
    """Learning rate of the encoder during `tune`, as a factor of `tune.learning_rate`"""
    tuned_weight: float = 1.0
    """Weight, 0 to 1, of the tuned weights in the average with the weights before `tune`; below 1, recordings
    unlike the training clips are scored more accurately"""
    transfer: bool = False
    """Whether MTQ-Net is initialised with MOSA-Net's weights"""
    ratings: RatingsConfig = field(default_factory=RatingsConfig)
    pretrained: str = ""
    """A pretrained MOSA-Net, a shipped model or the path of an .onnx file, which predicts the pseudo labels; empty:
    `mosa-net` if there is no corpus, otherwise MOSA-Net is trained on the corpus"""
    initial: str = ""
    """A shipped model, or the path of an .onnx file, from whose network MOSA-Net starts, or the network that is
    distilled. It must have the same dimensions; empty: random weights"""

    def __post_init__(self) -> None:
        if self.tune_encoder and "encoder" not in self.network.front_ends:
            raise UsageError("tune_encoder = true needs 'encoder' in network.front_ends")
        if self.method == "scratch" and self.transfer:
            raise UsageError(
                "method = 'scratch' trains no MOSA-Net: delete transfer = true or choose another method"
            )
        if self.ratings.labels and (self.network.causes or self.existing_models.ensemble or self.tune_encoder):
            raise UsageError(
                "tables of ratings cannot be trained with network.causes, existing_models.ensemble or tune_encoder, "
                "which need the recipes of a corpus alone: set them to false"
            )
        if not 0 <= self.tuned_weight <= 1:
            raise UsageError(f"tuned_weight must be from 0 to 1, found {self.tuned_weight:g}")

    @property
    def has_corpus(self) -> bool:
        """Whether the training data contain a simulated corpus."""
        return bool(self.corpus.speech)

    @property
    def pretrained_teacher(self) -> str:
        """The pretrained MOSA-Net; empty if it is to be trained or not needed."""
        return self.pretrained or ("" if self.has_corpus or not self.ratings.labels else MOSA_NET)

    def with_method(self, method: Method) -> Config:
        """Return the same configuration with another method."""
        return dataclasses.replace(self, method=method, transfer=self.transfer and method == "mpl")

    @property
    def initialised_from_teacher(self) -> bool:
        """Whether MTQ-Net starts from MOSA-Net's weights."""
        return self.transfer or self.method == "transfer"


def load(path: Path) -> Config:
    """Read a configuration file.

    Args:
        path: A TOML file such as configs/base.toml.

    Raises:
        UsageError: If the file is missing or no TOML, or has an unknown key or a value of a wrong type.
    """
    table = read_toml(path, "seed = 1, as in configs/base.toml")
    return build(Config, table, path.name)


Built = TypeVar("Built")


def build(kind: type[Built], table: Mapping[str, Any], where: str) -> Built:
    """Convert a table into a dataclass, including nested tables.

    Args:
        kind: The dataclass.
        table: Values by field name.
        where: Name of the table in error messages.

    Raises:
        UsageError: For an unknown or missing key, or a value of a wrong type.
    """
    hints = typing.get_type_hints(kind)
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    if unknown := sorted(set(table) - set(fields)):
        raise UsageError(f"{where}: unknown key {unknown[0]!r}; known keys: {', '.join(fields)}")
    needed = [n for n, f in fields.items() if f.default is f.default_factory is dataclasses.MISSING]
    if missing := [name for name in needed if name not in table]:
        raise UsageError(f"{where}: the key {missing[0]!r} is missing; add it, see configs/base.toml")
    values = {name: _convert(hints[name], value, f"{where}, {name}") for name, value in table.items()}
    return kind(**values)


def _convert(hint: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, dict):
            raise UsageError(f"{where}: expected a table, found {value!r}")
        return build(hint, value, where)
    origin = typing.get_origin(hint)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise UsageError(f"{where}: expected a list, found {value!r}")
        return tuple(_convert(typing.get_args(hint)[0], entry, where) for entry in value)
    if origin is Literal:
        if value not in typing.get_args(hint):
            raise UsageError(f"{where}: found {value!r}, expected one of {', '.join(typing.get_args(hint))}")
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (hint is not bool and isinstance(value, bool)):
        raise UsageError(f"{where}: expected a value of type {getattr(hint, '__name__', hint)}, found {value!r}")
    return value
