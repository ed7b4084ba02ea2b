"""Fine-tuning of a model on ratings: `mtqnet finetune`."""

from mtqnet.training.finetune.run import Options, Outcome, finetune
from mtqnet.training.finetune.train import TuneConfig

__all__ = ["Options", "Outcome", "TuneConfig", "finetune"]
