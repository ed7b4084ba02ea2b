"""Log the scores of a folder to MLflow or Weights & Biases: pip install mtqnet pandas mlflow wandb."""

from __future__ import annotations

import mtqnet


def log_to_mlflow(results: mtqnet.Results, name: str) -> None:
    """Log means as metrics and all recordings as a table. Set MLFLOW_TRACKING_URI for another server."""
    import mlflow

    mlflow.set_experiment("speech-quality")
    with mlflow.start_run(run_name=name):
        mlflow.log_metrics(results.mean())
        mlflow.log_table(results.to_frame(), "scores.json")


def log_to_wandb(results: mtqnet.Results, name: str) -> None:
    """Log means as metrics and all recordings as a table. WANDB_MODE=offline needs no account."""
    import wandb

    with wandb.init(project="speech-quality", name=name) as run:
        run.log(results.mean())
        run.log({"scores": wandb.Table(dataframe=results.to_frame()[["file", *results.mean(), "flags"]])})


if __name__ == "__main__":
    import sys

    target, folder = sys.argv[1:]
    scored = mtqnet.load().score_files(folder, progress=True)
    {"mlflow": log_to_mlflow, "wandb": log_to_wandb}[target](scored, folder)
