"""The training loop: epochs, validation, a checkpoint after each epoch, resume, and the best weights at the end.

The random numbers of epoch n depend on (seed, n) alone, so a resumed run makes the same steps as an uninterrupted
one. A checkpoint is one safetensors file, written atomically: weights, their moving average, the state of the
optimiser and the best weights are tensors, the history is JSON in the header.

torchrun starts several processes, which DistributedDataParallel joins; without torchrun there is one process. All
draw the same batches; each computes the gradients of its part of every batch, and DDP averages them.

    torchrun --nproc-per-node 2 -m mtqnet train configs/base.toml --data ../shared/data --out runs/base
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from mtqnet.errors import UsageError
from mtqnet.targets import QUEST, named
from mtqnet.training.batches import Batch, Dataset, collate, evaluation_indices, steps_of, training_batches
from mtqnet.training.config import FitConfig, MachineConfig
from mtqnet.training.losses import MultiTaskLoss
from mtqnet.training.model import Output, Trainable

WARM_UP = 0.1
"""Fraction of the steps during which the learning rate increases"""
WEIGHT_DECAY = 1e-2
MAX_NORM = 1.0
"""Largest norm of the gradient"""
EVALUATION_BATCH = 32
SAMPLED_CLIPS = 4
"""Number of clips whose features identify the front end of a run"""
TIMEOUT = timedelta(days=7)
"""How long the other processes wait while the first builds a corpus"""
PLAIN = MachineConfig()

Weights = dict[str, Tensor]


class Process(NamedTuple):
    """Position of this process among all processes."""

    rank: int
    world: int
    """Number of processes"""

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and reports progress."""
        return self.rank == 0


ALONE = Process(0, 1)


def process() -> Process:
    """Return the position of this process; the only one unless `started` joined several."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return ALONE
    return Process(distributed.get_rank(), distributed.get_world_size())


def device() -> torch.device:
    """Return the GPU of this process, or the CPU without a GPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


@contextmanager
def started() -> Iterator[Process]:
    """Join the processes that torchrun started, according to its environment variables."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or distributed.is_initialized():
        yield process()
        return
    distributed.init_process_group("nccl" if device().type == "cuda" else "gloo", timeout=TIMEOUT)
    try:
        yield process()
    finally:
        distributed.destroy_process_group()


@contextmanager
def first_alone() -> Iterator[Process]:
    """Run the block in the first process, then in all others, which find its results on disk.

    If the first process fails, torchrun ends the others.
    """
    own = process()
    if not own.first:
        distributed.barrier()
    yield own
    if own.first and own.world > 1:
        distributed.barrier()


def summed(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sum of an array over all processes, in each of them."""
    if process().world == 1:
        return values
    total = torch.from_numpy(values).to(device())
    distributed.all_reduce(total)
    return np.asarray(total.cpu().numpy())


@dataclass(frozen=True)
class Epoch:
    """Result of one epoch."""

    epoch: int
    train_loss: float
    validation_error: float
    """Mean squared error on the training scale over the validated targets; comparable between losses"""
    lcc: dict[str, float]
    """Pearson correlation by target on the validation clips; of log10 for targets on a logarithmic scale"""


EpochReport = Callable[[Epoch, int], None]
"""Called after each epoch with its result and the number of epochs"""


@dataclass
class Loop:
    """One network in training. `run` is the loop of every training: MPL, distillation and fine-tuning."""

    network: Trainable
    loss: MultiTaskLoss
    batches: Callable[[int], Iterable[Batch]]
    """Epoch, from 0 -> its batches"""
    optimiser: AdamW
    rate: Callable[[int], float]
    """Step, from 0 -> factor of the learning rate"""
    epochs: int
    steps: int
    """Batches per epoch"""
    seed: int
    frozen_epochs: int = 0
    """Number of first epochs in which only the heads are trained"""
    machine: MachineConfig = PLAIN
    average: AveragedModel | None = None
    """Moving average of the weights"""

    def run(self, after_epoch: Callable[[int, float], bool], first: int = 0) -> None:
        """Train until `after_epoch` returns False, at most to the last epoch; `first` epochs are already done.

        It is called with the number of finished epochs and the mean training loss of the last.
        """
        for group in self.optimiser.param_groups:
            group["initial_lr"] = group["lr"]
        scheduler = LambdaLR(self.optimiser, self.rate, last_epoch=first * self.steps - 1)
        for epoch in range(first, self.epochs):
            self.network.freeze_trunk(epoch < self.frozen_epochs)
            if not after_epoch(epoch + 1, self._epoch(epoch, scheduler)):
                break

    def _epoch(self, epoch: int, scheduler: LambdaLR) -> float:
        """Train one epoch; return the mean loss."""
        run: Any = self.network
        if process().world > 1:  # again in each epoch, because other weights may be frozen
            run = DistributedDataParallel(run, broadcast_buffers=False)
        if self.machine.compile:
            run = torch.compile(run, dynamic=True)
        torch.manual_seed(self.seed * 1_000_003 + epoch + 7919 * process().rank)  # dropout
        self.network.train()
        total = np.zeros(2)
        for step, batch in enumerate(self.batches(epoch), start=epoch * self.steps):
            value = self._loss(run, batch.to(next(self.network.parameters()).device), step)
            self.optimiser.zero_grad()
            torch.autograd.backward(value)
            nn.utils.clip_grad_norm_(self.network.parameters(), MAX_NORM)
            self.optimiser.step()
            scheduler.step()
            if self.average is not None:
                self.average.update_parameters(self.network)
            total += value.item() * len(batch.samples), len(batch.samples)
        loss, clips = summed(total)
        return float(loss / clips)

    def _loss(self, run: Callable[..., Output], batch: Batch, step: int) -> Tensor:
        with torch.autocast(batch.samples.device.type, torch.bfloat16, enabled=self.machine.bf16):
            output = run(batch.inputs, batch.samples)
        causes = None if output.causes is None else output.causes.float()
        output = output._replace(values=output.values.float(), frames=output.frames.float(), causes=causes)
        progress = step / (self.steps * self.epochs)
        return self.loss(output, batch.labels, batch.weights, progress, batch.parts, batch.speech)


def fit(
    network: Trainable, train: Dataset, validation: Dataset, loss: MultiTaskLoss, config: FitConfig, seed: int,
    checkpoint: Path, report: EpochReport | None = None, machine: MachineConfig = PLAIN,
) -> list[Epoch]:  # fmt: skip
    """Train a network in place and leave it with the weights of its best epoch.

    The best epoch has the lowest validation error of S-, N- and G-MOS or, for a network without these, of all its
    targets. Several processes call this together.

    Args:
        network: The network.
        train: Training clips with their labels.
        validation: Validation clips with their labels.
        loss: The loss.
        config: Number of epochs, learning rate and so on.
        seed: Seed of the order of clips, of dropout and augmentation.
        checkpoint: File of the run's state; an interrupted run continues from it.
        report: Called after each epoch.
        machine: Options for faster hardware.

    Returns:
        The results of all epochs, including those before an interruption.

    Raises:
        UsageError: If the checkpoint belongs to other clips, labels, options, dimensions or initial weights.
    """
    identity = _identity(network, train, validation, loss, config, seed)
    own, steps = process(), steps_of(train, config)
    network.to(device())
    state = State(
        network,
        AdamW(network.parameter_groups(config.learning_rate), weight_decay=WEIGHT_DECAY),
        moving_average(network, config.ema_decay),
    )
    history = restore(checkpoint, identity, state)

    def batches(epoch: int) -> Iterable[Batch]:
        rng, pairs = np.random.default_rng([seed, epoch]), loss.config.rank_weight > 0
        return training_batches(train, network.targets, config, rng, pairs, *own)

    def after_epoch(epoch: int, train_loss: float) -> bool:
        history.append(Epoch(epoch, train_loss, *validate(state.validated, validation)))
        lowest = min(result.validation_error for result in history)
        if not history[-1].validation_error > lowest:  # also if it is NaN: there are no labels to validate by
            state.keep()
        if own.first:
            save(checkpoint, identity, state, history)
            if report:
                report(history[-1], config.epochs)
        return True

    loop = Loop(
        network, loss, batches, state.optimiser, lambda step: warm_up_and_cosine(step / (steps * config.epochs)),
        config.epochs, steps, seed, config.frozen_epochs, machine, state.average,
    )  # fmt: skip
    loop.run(after_epoch, first=len(history))
    network.load_state_dict(state.best)
    network.freeze_trunk(False)
    network.cpu().eval()
    return history


def warm_up_and_cosine(progress: float) -> float:
    """Return the factor of the peak learning rate at this fraction of all steps: linear increase, cosine decrease."""
    if progress < WARM_UP:
        return progress / WARM_UP + 1e-3
    return 0.5 * (1 + math.cos(math.pi * (min(progress, 1.0) - WARM_UP) / (1 - WARM_UP)))


def predict(network: Trainable, data: Dataset) -> dict[str, NDArray[np.float64]]:
    """Predict the scores of all clips: (clips,) by target, in the target's unit, not limited to its range.

    Of several processes, each predicts some batches, and all get all scores.
    """
    raw = np.zeros((len(data.clips), len(network.targets)))
    for indices, values in _outputs(network, data, lambda output: output.values, process()):
        raw[indices] = values.numpy()
    raw = summed(raw)
    return {t.key: t.from_training(raw[:, i]) for i, t in enumerate(named(network.targets))}


def distances(network: Trainable, data: Dataset) -> NDArray[np.float64]:
    """Return the distance of all clips from the training clips, (clips,), by a network that measures it."""
    found = np.zeros(len(data.clips))
    for indices, values in _outputs(network, data, lambda output: output.distance):
        found[indices] = values.numpy()
    return found


def embeddings(network: Trainable, data: Dataset) -> Tensor:
    """Return the embeddings of all clips, (clips, width), in the order of their batches."""
    parts = _outputs(network, data, lambda output: output.embedding)
    return torch.cat([values for _, values in parts]).clone()


def _outputs(
    network: Trainable, data: Dataset, part: Callable[[Output], Tensor | None], own: Process = ALONE
) -> list[tuple[NDArray[np.int64], Tensor]]:
    """Return the indices of the clips of each batch of this process, and a part of the network's output for them."""
    found = []
    network.eval()
    with torch.inference_mode():
        for number, indices in enumerate(evaluation_indices(data, EVALUATION_BATCH)):
            if number % own.world == own.rank:
                batch = collate(data, indices, ()).to(next(network.parameters()).device)
                found.append((indices, cast(Tensor, part(network(batch.inputs, batch.samples))).cpu()))
    return found


def validate(network: Trainable, data: Dataset) -> tuple[float, dict[str, float]]:
    """Return the mean squared error over the validated targets (see `fit`), and the correlation by labelled
    target."""
    scores = predict(network, data)
    errors, correlations = {}, {}
    for target in named([key for key in network.targets if key in data.labels]):
        truth, predicted = data.labels[target.key], scores[target.key]
        known = ~np.isnan(truth)
        correlations[target.key] = lcc(target.compress(truth[known]), target.compress(predicted[known]))
        distance = target.to_training(truth[known]) - target.to_training(predicted[known])
        if known.any():
            errors[target.key] = float(np.mean(distance**2))
    quest = [target.key for target in QUEST if target.key in errors]
    return float(np.mean([errors[key] for key in quest or errors])) if errors else math.nan, correlations


def lcc(truth: NDArray[np.float64], predicted: NDArray[np.float64]) -> float:
    """Return the Pearson correlation of (clips,); NaN for fewer than two values, or if one side is constant."""
    if len(truth) < 2 or np.ptp(truth) == 0 or np.ptp(predicted) == 0:
        return math.nan
    return float(np.corrcoef(truth, predicted)[0, 1])


@dataclass
class State:
    """What changes from step to step, and the best weights."""

    network: Trainable
    optimiser: AdamW
    average: AveragedModel | None = None
    best: Weights = field(default_factory=dict)
    """Weights of the best epoch; before the first epoch the initial ones"""

    def __post_init__(self) -> None:
        self.keep()

    @property
    def validated(self) -> Trainable:
        """The network that is validated and kept: the moving average, if there is one."""
        return self.network if self.average is None else cast(Trainable, self.average.module)

    def keep(self) -> None:
        """Copy the current weights to `best`."""
        self.best = {name: value.detach().clone() for name, value in self.validated.state_dict().items()}


def save(path: Path, identity: str, state: State, history: list[Epoch]) -> None:
    """Write a checkpoint. `identity` is a digest of everything that the run depends on."""
    groups: dict[str, Mapping[str, Tensor]] = {"network": state.network.state_dict(), "best": state.best}
    if state.average is not None:
        groups["average"] = state.average.state_dict()
    for index, moments in state.optimiser.state_dict()["state"].items():
        groups[f"optimiser/{index}"] = moments
    tensors = {f"{group}/{k}": v.contiguous() for group, weights in groups.items() for k, v in weights.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".tmp")
    save_file(tensors, unfinished, {"identity": identity, "history": json.dumps([asdict(e) for e in history])})
    unfinished.replace(path)


def restore(path: Path, identity: str, state: State) -> list[Epoch]:
    """Load a checkpoint into `state`, if there is one, and return its history.

    Raises:
        UsageError: If the checkpoint belongs to another run.
    """
    if not path.exists():
        return []
    groups: dict[str, Weights] = {}
    with safe_open(path, "pt") as stored:
        about = stored.metadata()
        if about.get("identity") != identity:
            raise UsageError(
                f"the checkpoint {path} belongs to a run with other clips or other options: use another --out "
                "folder, or delete the checkpoint"
            )
        for name in stored.keys():  # noqa: SIM118 - not a dict
            head, _, rest = name.partition("/")
            group, _, part = rest.partition("/") if head == "optimiser" else (head, "", rest)
            groups.setdefault(group, {})[part] = stored.get_tensor(name)
    state.network.load_state_dict(groups.pop("network"))
    state.best = groups.pop("best")
    if state.average is not None:
        state.average.load_state_dict(groups.pop("average"))
    moments = {int(index): weights for index, weights in groups.items()}
    state.optimiser.load_state_dict({**state.optimiser.state_dict(), "state": moments})
    return [Epoch(**epoch) for epoch in json.loads(about["history"])]


def moving_average(network: Trainable, decay: float) -> AveragedModel | None:
    """Return a network of averaged weights; None for the decay 0."""
    if not decay:
        return None
    return AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(decay))  # type: ignore[no-untyped-call]


def _identity(
    network: Trainable, train: Dataset, validation: Dataset, loss: MultiTaskLoss, config: FitConfig, seed: int
) -> str:
    """Return a digest of everything that a run's steps depend on: dimensions, options, loss, clips and labels.

    The front end is represented by the features of a few clips, because another encoder changes those of every
    clip.
    """
    digest = hashlib.sha256(repr((network.targets, network.config, config, seed, loss)).encode())
    for data in (train, validation):
        digest.update(np.array([clip.samples for clip in data.clips]).tobytes())
        for key in network.targets:
            digest.update(np.ascontiguousarray(data.labels.get(key, ())).tobytes())
        for key, weights in sorted(data.weights.items()):
            digest.update(key.encode() + np.ascontiguousarray(weights).tobytes())
        if data.speech is not None:
            digest.update(data.speech.tobytes())
        if data.parts is not None:
            digest.update(b"".join(np.ascontiguousarray(part).tobytes() for part in vars(data.parts).values()))
        for clip in data.clips[:: max(1, len(data.clips) // SAMPLED_CLIPS)]:
            for name, view in sorted(clip.features.items()):
                digest.update(name.encode() + np.ascontiguousarray(view).tobytes())
    for weight in network.state_dict().values():
        digest.update(weight.cpu().numpy().tobytes())
    return digest.hexdigest()
