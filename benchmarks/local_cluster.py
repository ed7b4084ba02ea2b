"""A cluster of several nodes and an S3 bucket, all on this machine."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

STORE = 80_000_000
"""Bytes of each node's object store, about the least that Ray takes"""
STARTS = 8
"""A machine that does much else may be too slow for Ray's patience"""
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_EC2_METADATA_DISABLED": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_raylet_start_wait_time_s": "40",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "60000",
}
BUCKET = "bucket"
HEAD = {"include_dashboard": False, "include_log_monitor": False, "no_monitor": True}
"""Nobody looks at these here"""


@contextmanager
def bucket() -> Iterator[str]:
    """An S3 server (moto) in a process of its own; the options of its addresses."""
    os.environ.update(ENVIRONMENT)
    port = _free_port()
    command = [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            _wait(port, server)
            options = f"endpoint_override=127.0.0.1:{port}&scheme=http&region=us-east-1&allow_bucket_creation=true"
            store(options).create_dir(BUCKET)
            yield options
        finally:
            server.kill()


def store(options: str) -> Any:
    """pyarrow's view of the bucket."""
    from pyarrow import fs

    return fs.FileSystem.from_uri(f"s3://{BUCKET}?{options}")[0]


def upload(options: str, files: Sequence[Path], folder: str) -> None:
    for file in files:
        with store(options).open_output_stream(f"{BUCKET}/{folder}/{file.name}") as stream:
            stream.write(file.read_bytes())


def kill(made: Any, node: Any) -> None:
    """Kill a node with all its processes. Ray's remove_node alone lets its workers finish their shards."""
    for process in _family(node.all_processes["raylet"][0].process.pid):
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    made.remove_node(node, allow_graceful=False)


def _family(process: int) -> list[int]:
    """A process and all that it started, and so on."""
    of: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parent = int(status.read_text().rpartition(")")[2].split()[1])
            of.setdefault(parent, []).append(int(status.parent.name))
    found = [process]
    for one in found:
        found += of.get(one, [])
    return found


@contextmanager
def cluster(nodes: int) -> Iterator[tuple[Any, list[Any]]]:
    """A head without processors and nodes with one each, to which Ray is connected; the cluster and the nodes."""
    import ray

    os.environ.update(ENVIRONMENT)
    made, workers = _started(nodes)
    ray.init(address=made.address, log_to_driver=False, logging_level="ERROR")
    try:
        yield made, workers
    finally:
        ray.shutdown()
        made.shutdown()


def _started(nodes: int) -> tuple[Any, list[Any]]:
    from ray.cluster_utils import Cluster

    made = Cluster()
    _patiently(lambda: made.add_node(num_cpus=0, **HEAD, **_settings()), made)
    return made, [_patiently(lambda: made.add_node(num_cpus=1, **_settings()), made) for _ in range(nodes)]


def _patiently(start: Callable[[], Any], made: Any) -> Any:
    """A node; started again where Ray lost its patience with it."""
    for _ in range(STARTS - 1):
        before = made.head_node
        with suppress(Exception):  # Ray's own, without a kind
            return start()
        if before is None:  # a head that did not come up is not to be joined
            made.head_node = None
    return start()


def _settings() -> dict[str, int]:
    """Of a node. Parts that choose their ports themselves have half a minute for it, no more; so these do not."""
    parts = ("metrics_agent_port", "metrics_export_port", "runtime_env_agent_port", "dashboard_agent_listen_port")
    return {"object_store_memory": STORE} | {part: _free_port() for part in parts}


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    return port


def _wait(port: int, server: subprocess.Popen[bytes]) -> None:
    while server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError("the S3 server did not start: is moto[server] installed?")
