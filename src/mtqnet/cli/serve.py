"""`mtqnet serve`: options and help. The work is done in serving/app.py."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from mtqnet.errors import UsageError, missing_extra

HELP = (
    "Serve scores over HTTP and WebSocket, with a web page.\n\n"
    "The web page is at /, the endpoints are at /v1/score, /v1/compare, /v1/stream, /v1/history and /v1/models; "
    "/v1/openapi.json describes them. Without options it accepts connections from this computer only, and stores a "
    "history of scores, without audio, for 90 days. All other settings, such as the number of processes and "
    "the database, are environment variables: [cyan]python -m mtqnet.serving.settings[/] lists them. Needs "
    "mtqnet\\[serve].\n\n"
    "[bold]Examples[/]\n\n"
    "[cyan]mtqnet serve[/]\n\n"
    "[cyan]mtqnet serve --port 8080 --model base --model mine.onnx[/]\n\n"
    "[cyan]mtqnet serve --keys keys.txt --new-key monitoring[/]\n\n"
    "[cyan]mtqnet serve --host 0.0.0.0 --keys keys.txt[/]"
)
NEEDS = ("fastapi", "uvicorn", "websockets", "python_multipart", "pydantic_settings", "sqlalchemy",
         "prometheus_client", "pebble")  # fmt: skip


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port; 0: any free port.", show_default="8000")
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            help="A model to offer; may be repeated, the first is the default.",
            show_default="base, small",
        ),
    ] = None,
    keys: Annotated[
        Path | None,
        typer.Option(help="File of API keys (bearer tokens); requests without a valid key are refused."),
    ] = None,
    new_key: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Add a key with this name to the file --keys, print it, and exit."),
    ] = None,
) -> None:
    """Serve scores."""
    if any(find_spec(name) is None for name in NEEDS):
        raise missing_extra("mtqnet serve", "serve")
    if new_key is not None:
        from mtqnet.serving.guard import add_key

        if keys is None:
            raise UsageError("--new-key needs the file of keys: name it with --keys FILE")
        typer.echo(add_key(keys, new_key))
        return
    from pydantic import ValidationError

    from mtqnet.cli.terminal import tell
    from mtqnet.serving.app import run
    from mtqnet.serving.settings import Settings

    given: dict[str, Any] = {"host": host, "port": port, "models": model and tuple(model), "keys": keys}
    try:
        settings = Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        told = "; ".join(f"MTQNET_{str(one['loc'][0]).upper()}: {one['msg']}" for one in error.errors())
        raise UsageError(told) from error
    run(settings, tell)
