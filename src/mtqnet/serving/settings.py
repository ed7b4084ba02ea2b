"""Settings and limits of the service, from options, environment variables (MTQNET_...) or defaults."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from mtqnet.scoring import batch, models
from mtqnet.scoring.models import ModelRecord
from mtqnet.serving import MB

LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""Names of this computer for itself"""
STREAMS_A_CORE = 8
"""Live streams of `base` per core, with a reserve of one half: a row of 10 s takes 80 ms"""
DEFAULT_MODEL = "base"
BROWSER = Path(__file__).with_name("browser")
"""Files for scoring in the browser, which `npm run build` in web/ writes; a checkout has none before"""

Names = Annotated[tuple[str, ...], NoDecode]
"""In the environment: separated by commas"""


class Settings(BaseSettings):
    """Every setting is an environment variable too: MTQNET_PORT=8080, MTQNET_MODELS=base,/srv/mine.onnx, ..."""

    model_config = SettingsConfigDict(env_prefix="MTQNET_", frozen=True, extra="ignore")

    host: str = Field(
        "127.0.0.1", description="Address to listen on. The default accepts connections from this computer only."
    )
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 selects a free one.")
    allowed_hosts: Names = Field(
        (),
        description="Host names that requests may use. Default: loopback names on a loopback address, else any.",
    )
    models: Names = Field(
        (), description="Shipped names or paths of models to offer, the default one first. Default: base, small."
    )
    workers: int = Field(0, ge=0, description="Scoring processes; 0 is one per core.")
    queue: int = Field(32, ge=0, description="Jobs that may wait for a process; beyond that the answer is 429.")
    job_s: float = Field(300, gt=0, description="Maximum seconds of a job; then its process is ended.")
    max_body_mb: float = Field(100, gt=0, description="MB of a request's body.")
    max_duration_s: float = Field(3600, gt=0, description="Seconds of a recording.")
    streams: int = Field(0, ge=0, description="Live streams at once; 0 is 8 per core.")
    stream_idle_s: float = Field(30, gt=0, description="Seconds without a message until a live stream is closed.")
    database: str | None = Field(
        None,
        description="URL of the history, sqlite:///FILE or postgresql+psycopg://...; empty for no history. "
        "Default: mtqnet/history.sqlite in $XDG_STATE_HOME.",
    )
    retention_days: float = Field(90, ge=0, description="Days after which history rows are deleted; 0 keeps them.")
    keep_audio: bool = Field(False, description="Whether a request may store its recording in the history.")
    keys: Path | None = Field(None, description="File of hashed bearer keys; without it, no key is required.")

    @field_validator("models", "allowed_hosts", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return (
            tuple(name.strip() for name in value.split(",") if name.strip()) if isinstance(value, str) else value
        )

    @property
    def processes(self) -> int:
        return self.workers or batch.cores()

    @property
    def most_streams(self) -> int:
        return self.streams or STREAMS_A_CORE * batch.cores()

    @property
    def hosts(self) -> tuple[str, ...]:
        """Host names that requests may use; empty: any."""
        return self.allowed_hosts or (LOOPBACK if self.host in LOOPBACK else ())

    @property
    def max_body(self) -> int:
        """Bytes"""
        return round(self.max_body_mb * MB)

    @property
    def database_url(self) -> str | None:
        """URL of the database; None: no history"""
        if self.database is not None:
            return self.database or None
        state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state"
        return f"sqlite:///{Path(state) / 'mtqnet/history.sqlite'}"

    @property
    def browser(self) -> bool:
        """Whether the page can also score in the browser."""
        return (BROWSER / "index.js").is_file()

    def records(self) -> dict[str, ModelRecord]:
        """The models to offer by their names, the default one first. Raises ModelError."""
        shipped = sorted(models.complete(), key=lambda name: name != DEFAULT_MODEL)
        return {record.name: record for record in map(models.find, self.models or shipped)}


def markdown() -> str:
    """The table of settings for the docs."""
    rows = ["| variable | default | what it is |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = "" if field.default in (None, ()) else f"`{field.default}`"
        rows.append(f"| `MTQNET_{name.upper()}` | {default} | {field.description} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    print(markdown(), end="")
