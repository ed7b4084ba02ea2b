"""Adapt the speech encoder to fewer frames: `python -m research.merge_frames --corpus DIR --out FILE`.

The encoder of a shipped model averages its frames after the transformer layers. Here a copy averages them before the
layers (`encoder.pool_first`), with attention limited to a few seconds, and is trained to give the same frames: squared
error, each column divided by its variance, no labels. The result is a .safetensors file for `encoder.weights`.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from mtqnet.corpus.table import excerpt, read_rows
from mtqnet.training import encoder as encoders
from mtqnet.training import features, trainer
from mtqnet.training.batches import Dataset, collate, evaluation_indices, training_batches
from mtqnet.training.config import FitConfig
from mtqnet.training.export import load_weights
from mtqnet.training.features import FrontEnd
from mtqnet.training.model import frame_mask


def main() -> None:
    """Read the options, train, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True, help="folder of `mtqnet corpus build`")
    parser.add_argument("--model", default="base", help="model whose encoder is imitated")
    parser.add_argument("--out", type=Path, required=True, help=".safetensors file")
    parser.add_argument("--features", type=Path, required=True, help="folder for log-mel features")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--attention-frames", type=int, default=25, help="on either side; of 80 ms")
    parser.add_argument("--rate", type=float, default=5e-4, help="peak learning rate")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    opened = load_weights(options.model)
    teacher, config = opened.encoder, opened.front_end.encoder
    assert teacher is not None and config is not None
    student = encoders.load(replace(config, pool_first=True, attention_frames=options.attention_frames))
    rows = read_rows(options.corpus)
    front_end = FrontEnd(("logmel",), False, None)

    def clips(split: str) -> Dataset:
        found = [excerpt(options.corpus, row) for row in rows if row["split"] == split]
        return Dataset(features.compute(front_end, found, options.features, split), {})

    train, held_out = clips("train"), clips("validation")
    scale = variances(teacher, held_out)
    print(f"before: distance {distance(student, teacher, held_out, scale):.4f}", flush=True)
    adapt(student, teacher, train, held_out, scale, options)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    state = student.state_dict().items()
    save_file({encoders.PREFIX + name: weight.half().contiguous() for name, weight in state}, options.out)


def adapt(
    student: encoders.SpeechEncoder,
    teacher: encoders.SpeechEncoder,
    train: Dataset,
    held_out: Dataset,
    scale: Tensor,
    options: argparse.Namespace,
) -> None:
    """Train the student in place."""
    student.requires_grad_(True).train()
    optimiser = torch.optim.AdamW(student.parameters(), lr=options.rate, weight_decay=0.01)
    fit = FitConfig(augment=0.5)
    steps, step, start = options.epochs * -(-len(train.clips) // fit.batch), 0, time.monotonic()
    for epoch in range(options.epochs):
        total = 0.0
        rng = np.random.default_rng([options.seed, epoch])
        for number, batch in enumerate(training_batches(train, (), fit, rng), 1):
            for group in optimiser.param_groups:
                group["lr"] = options.rate * trainer.warm_up_and_cosine(step / steps)
            with torch.autocast("cpu", torch.bfloat16):
                with torch.no_grad():
                    wanted, counts = teacher(batch.inputs["logmel"], batch.samples)
                found, _ = student(batch.inputs["logmel"], batch.samples)
            loss = _distance(found.float(), wanted.float(), counts, scale)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
            optimiser.step()
            total, step = total + loss.item(), step + 1
            if number % 50 == 0:
                print(f"epoch {epoch + 1}, batch {number}: {total / number:.4f}, "
                      f"{time.monotonic() - start:.0f} s", flush=True)  # fmt: skip
        student.eval()
        print(f"epoch {epoch + 1}: held out {distance(student, teacher, held_out, scale):.4f}", flush=True)
        student.train()
    student.eval().requires_grad_(False)


def variances(encoder: encoders.SpeechEncoder, data: Dataset) -> Tensor:
    """Variance of each column over all frames, (width,)."""
    total, squares, count = torch.zeros(()), torch.zeros(()), 0
    for frames, mask in _frames(encoder, data):
        total, squares = (
            total + (frames * mask).sum(dim=(0, 1)),
            squares + (frames.square() * mask).sum(dim=(0, 1)),
        )
        count += int(mask.sum())
    return squares / count - (total / count).square()


def distance(
    student: encoders.SpeechEncoder, teacher: encoders.SpeechEncoder, data: Dataset, scale: Tensor
) -> float:
    """Mean squared error of the frames relative to their variance."""
    pairs = zip(_frames(student, data), _frames(teacher, data), strict=True)
    errors = [
        float((((one - two).square() / scale) * mask).sum() / mask.sum() / len(scale))
        for (one, mask), (two, _) in pairs
    ]
    return float(np.mean(errors))


def _frames(encoder: encoders.SpeechEncoder, data: Dataset) -> list[tuple[Tensor, Tensor]]:
    found = []
    for indices in list(evaluation_indices(data, 32))[::4]:
        batch = collate(data, indices, ())
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            frames, counts = encoder(batch.inputs["logmel"], batch.samples)
        found.append((frames.float(), frame_mask(counts, frames.shape[1])[:, :, None]))
    return found


def _distance(one: Tensor, two: Tensor, counts: Tensor, scale: Tensor) -> Tensor:
    mask = frame_mask(counts, one.shape[1])[:, :, None]
    return ((one - two).square() / scale * mask).sum() / mask.sum() / len(scale)


if __name__ == "__main__":
    main()
