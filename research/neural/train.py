"""Train the vocoder or the enhancer on one processor core, until a number of steps or a time of day.

    python -m research.neural.train vocoder --speech DIR --noise DIR --out runs/vocoder --until 22:50

The checkpoint OUT/last.pt is written atomically every minute or so, and a run with the same --out resumes from it.
OUT/step-N.pt contains the averaged weights at chosen steps, OUT/log.jsonl the losses.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from research.neural import data
from research.neural.discriminators import Discriminator, discriminator_loss, feature_loss, generator_loss
from research.neural.enhancer import Enhancer, estimate
from research.neural.layers import SAMPLE_RATE, parameters
from research.neural.vocoder import Output, Vocoder, reconstruct

WEIGHTS = {
    "level": 2.0, "spectra": 2.0, "size": 10.0, "adversarial": 0.5, "features": 1.0,
}  # fmt: skip
"""Of the losses in their sum"""
JUDGED, JUDGED_S = 8, 0.4
"""Segments of a batch, and their length in seconds, that the discriminators see"""
KEPT_STEPS = (250, 500, 1000, 2000, 3000, 4000, 6000, 8000, 12_000, 16_000, 24_000, 32_000, 48_000, 64_000)
MOST_AVERAGING = 0.998
"""Decay of the averaged weights; less at the beginning"""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["vocoder", "enhancer"])
    parser.add_argument("--speech", type=Path, action="append", required=True, help="folder of speech; repeatable")
    parser.add_argument("--noise", type=Path, action="append", required=True, help="folder of noise; repeatable")
    parser.add_argument("--out", type=Path, required=True, help="folder of checkpoints and log")
    parser.add_argument("--steps", type=int, default=64_000, help="stop after this step (default %(default)s)")
    parser.add_argument("--until", help="stop at this time of day, HH:MM in local time")
    parser.add_argument("--batch", type=int, default=8, help="segments of a step (default %(default)s)")
    parser.add_argument("--seconds", type=float, help="length of a segment (default: 0.8, enhancer 1.6)")
    parser.add_argument("--rate", type=float, default=1e-3, help="learning rate (default %(default)s)")
    parser.add_argument(
        "--adversarial-from", type=int, default=3000, metavar="STEP",
        help="first step with discriminators (default %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--decay-from", type=int, metavar="STEP",
        help="from here on the learning rate halves every 1000 steps (default: never)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


class Run:
    """All state of a training, and one step of it."""

    def __init__(self, kind: str, rate: float) -> None:
        self.kind = kind
        self.network: Vocoder | Enhancer = Vocoder() if kind == "vocoder" else Enhancer()
        self.averaged = copy.deepcopy(self.network).requires_grad_(False).eval()
        self.discriminator = Discriminator()
        self.optimiser = torch.optim.AdamW(self.network.parameters(), rate, (0.8, 0.99), weight_decay=0.01)
        self.opponent = torch.optim.AdamW(
            self.discriminator.parameters(), rate / 2, (0.8, 0.99), weight_decay=0.01
        )
        self.step, self.seconds = 0, 0.0

    def state(self) -> dict[str, Any]:
        parts = (self.network, self.averaged, self.discriminator, self.optimiser, self.opponent)
        return {"parts": [part.state_dict() for part in parts], "step": self.step, "seconds": self.seconds}

    def load(self, state: dict[str, Any]) -> None:
        parts = (self.network, self.averaged, self.discriminator, self.optimiser, self.opponent)
        for part, values in zip(parts, state["parts"], strict=True):
            part.load_state_dict(values)
        self.step, self.seconds = state["step"], state["seconds"]

    def forward(self, batch: tuple[Tensor, ...]) -> Output:
        if isinstance(self.network, Vocoder):
            return reconstruct(self.network, *batch)
        return estimate(self.network, *batch)

    def crops(self, wanted: Tensor, made: Tensor) -> tuple[Tensor, Tensor]:
        """The part of a batch that the discriminators see, to save time: JUDGED segments of JUDGED_S seconds."""
        length = round(JUDGED_S * SAMPLE_RATE)
        start = int(np.random.default_rng(self.step).integers(wanted.shape[-1] - length + 1))
        return wanted[:JUDGED, start : start + length], made[:JUDGED, start : start + length]

    def update(self, batch: tuple[Tensor, ...], adversarial: bool, rate: float) -> dict[str, float]:
        """One step of the network, and of the discriminators where `adversarial`. Returns the losses."""
        for optimiser, value in ((self.optimiser, rate), (self.opponent, rate / 2)):
            for group in optimiser.param_groups:
                group["lr"] = value
        wanted = batch[0]
        output = self.forward(batch)
        losses = output.losses
        record = {}
        if adversarial:
            real_samples, made_samples = self.crops(wanted, output.waveform)
            self.discriminator.requires_grad_(True)
            judged = discriminator_loss(
                self.discriminator(real_samples), self.discriminator(made_samples.detach())
            )
            _descend(judged, self.opponent, self.discriminator)
            record["discriminator"] = judged.item()
            self.discriminator.requires_grad_(False)
            with torch.no_grad():
                real = self.discriminator(real_samples)
            made = self.discriminator(made_samples)
            losses = {**losses, "adversarial": generator_loss(made), "features": feature_loss(real, made)}
        total = sum((WEIGHTS[name] * loss for name, loss in losses.items()), start=wanted.new_zeros(()))
        _descend(total, self.optimiser, self.network)
        self.step += 1
        decay = min(MOST_AVERAGING, self.step / (self.step + 20))
        with torch.no_grad():
            for mean, now in zip(self.averaged.parameters(), self.network.parameters(), strict=True):
                mean.lerp_(now, 1 - decay)
        return {**record, **{name: loss.item() for name, loss in losses.items()}}


def batches(
    kind: str, source: data.Material, count: int, length: int, seed: int
) -> Callable[[int], tuple[Tensor, ...]]:
    """Function from the number of a step to its batch, so that a resumed run continues with the same batches."""

    def batch(step: int) -> tuple[Tensor, ...]:
        rng = np.random.default_rng([seed, step])
        if kind == "vocoder":
            parts = data.speech_batch(source, count, length, rng)
        else:
            parts = data.noisy_batch(source, count, length, rng)
        return tuple(torch.from_numpy(part) for part in parts)

    return batch


def save(state: dict[str, Any], path: Path) -> None:
    """Write to a temporary file and rename it, so that an interruption leaves the last checkpoint."""
    unfinished = path.with_suffix(".unfinished")
    torch.save(state, unfinished)
    unfinished.replace(path)


def main() -> None:
    options = arguments()
    torch.manual_seed(options.seed)
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    run = Run(options.kind, options.rate)
    last = options.out / "last.pt"
    if last.exists():
        run.load(torch.load(last, weights_only=True))
    cache = options.out / "pitch.npz" if options.kind == "vocoder" else None
    source = data.material(options.speech, options.noise, "train", pitch_cache=cache)
    length = round((options.seconds or {"vocoder": 0.8, "enhancer": 1.6}[options.kind]) * SAMPLE_RATE)
    batch = batches(options.kind, source, options.batch, length, options.seed)
    log = options.out / "log.jsonl"
    start = {
        "start": datetime.now().isoformat(timespec="seconds"), "step": run.step, "hours": source.hours,
        "speakers": len(source.speech), "parameters": parameters(run.network),
        "discriminator": parameters(run.discriminator), "options": {k: str(v) for k, v in vars(options).items()},
    }  # fmt: skip
    _append(log, start)
    end = _end(options.until)
    totals: dict[str, float] = {}
    saved = time.monotonic()
    while run.step < options.steps and (end is None or datetime.now() < end):
        began = time.process_time()
        decay = 0.5 ** (max(0, run.step - options.decay_from) / 1000) if options.decay_from is not None else 1.0
        warm = min(1.0, (run.step + 1) / 200)
        record = run.update(batch(run.step), run.step >= options.adversarial_from, options.rate * decay * warm)
        run.seconds += time.process_time() - began
        if not np.isfinite(record["spectra"]):
            raise RuntimeError(f"the loss is not finite at step {run.step}: resume with a smaller --rate")
        for name, value in record.items():
            totals[name] = totals.get(name, 0.0) + value
        if run.step % 50 == 0:
            means = {name: round(value / 50, 4) for name, value in totals.items()}
            totals = {}
            now = datetime.now().isoformat(timespec="seconds")
            _append(log, {"step": run.step, "cpu_s": round(run.seconds), "time": now, **means})
        if run.step in KEPT_STEPS:
            save(_averaged(run), options.out / f"step-{run.step}.pt")
        if time.monotonic() - saved > 60:
            save(run.state(), last)
            saved = time.monotonic()
    save(run.state(), last)
    save(_averaged(run), options.out / f"step-{run.step}.pt")


def _averaged(run: Run) -> dict[str, Any]:
    return {"kind": run.kind, "step": run.step, "cpu_s": run.seconds, "weights": run.averaged.state_dict()}


def _append(log: Path, record: dict[str, Any]) -> None:
    with log.open("a") as stream:
        print(json.dumps(record), file=stream)


def _descend(loss: Tensor, optimiser: torch.optim.Optimizer, network: nn.Module) -> None:
    optimiser.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    nn.utils.clip_grad_norm_(network.parameters(), 5.0)
    optimiser.step()


def _end(until: str | None) -> datetime | None:
    if until is None:
        return None
    now = datetime.now()
    hour, minute = map(int, until.split(":"))
    end = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    return end if end > now else end + timedelta(days=1)


if __name__ == "__main__":
    main()
