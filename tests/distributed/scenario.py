"""What happens on a real cluster of several nodes, in a process of its own: Ray's warnings are not this package's.

    python scenario.py FOLDER MODEL

FOLDER/calls holds recordings, one of which kills whatever reads it. They lie in an S3 bucket too (moto, on
loopback). The node that did the first shard is killed when it is at its second. FOLDER/facts.json says what came
of it.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import poison

SHARD_SIZE = 4
STORE = 80_000_000
"""Bytes of each node's object store, the least that Ray takes"""
PATIENT = {
    "RAY_raylet_start_wait_time_s": "300",
    "RAY_gcs_server_request_timeout_seconds": "300",
    "RAY_USAGE_STATS_ENABLED": "0",
}
"""With a machine that does much else"""
AWS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@contextmanager
def bucket(files: list[Path]) -> Iterator[str]:
    """The address of a bucket with these files, which pyarrow opens."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    options = f"endpoint_override={host}:{port}&scheme=http&region=us-east-1&allow_bucket_creation=true"
    from pyarrow import fs

    store = fs.FileSystem.from_uri(f"s3://bucket?{options}")[0]
    store.create_dir("bucket")
    for file in files:
        with store.open_output_stream(f"bucket/calls/{file.name}") as stream:
            stream.write(file.read_bytes())
    yield options
    server.stop()


@contextmanager
def cluster(nodes: int) -> Iterator[Any]:
    """A head without processors, and nodes with one each; Ray is connected to it."""
    import ray
    from ray.cluster_utils import Cluster

    made = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 0, "object_store_memory": STORE, "include_dashboard": False},
    )
    workers = [made.add_node(num_cpus=1, object_store_memory=STORE) for _ in range(nodes)]
    ray.init(address=made.address, log_to_driver=False, logging_level="ERROR")
    yield made, workers
    ray.shutdown()
    made.shutdown()


def main(folder: Path, model: str) -> None:
    os.environ.update(PATIENT | AWS)
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [poison.folder(), os.environ["PYTHONPATH"], str(Path(__file__).parent)]
    )
    os.environ["POISON_SLOW_S"] = "0.1"
    calls = sorted((folder / "calls").glob("*.wav"))
    facts: dict[str, Any] = {}
    began = time.monotonic()

    def mark(what: str) -> None:
        print(f"{time.monotonic() - began:6.1f} {what}", flush=True)

    with bucket(calls) as options, cluster(2) as (made, workers):
        mark("cluster")
        import ray

        import mtqnet.ray
        from mtqnet.distributed.worker import SHOWN

        source, out = f"s3://bucket/calls?{options}", f"s3://bucket/scores?{options}"
        killed: list[int] = []

        def told(one: Any, _shards: int) -> None:
            mark(f"shard {one.shard}")
            if not killed:
                busy = next(node for node in workers if one.node.endswith(node.node_id[:SHOWN]))
                made.remove_node(busy, allow_graceful=False)
                killed.append(one.shard)

        how = mtqnet.ray.ScaleOptions(model, shard_size=SHARD_SIZE)
        result = mtqnet.ray.score_sources([source], out, how, told)
        facts["killed"] = [asdict(one) for one in result.outcomes]
        facts["in_bucket"] = _names(options)
        _download(options, folder / "scores")
        again = mtqnet.ray.score_sources([source], out, how)
        facts["again"] = {"kept": len(again.kept), "recordings": again.recordings}
        mark("again")
        _delete(options, "scores/part-000001.parquet")
        mended = mtqnet.ray.score_sources([source], out, how)
        facts["mended"] = {"kept": sorted(mended.kept), "recordings": mended.recordings}
        mark("mended")

        with tarfile.open(folder / "shards.tar", "w") as archive:
            for file in calls:
                archive.add(file, f"a/{file.name}")
        rows = [calls[0], "missing.wav", source.replace("/calls?", f"/calls/{calls[2].name}?")]
        (folder / "list.csv").write_text("\n".join(["id,file", *(f"1,{row}" for row in rows)]) + "\n")
        mixed = mtqnet.ray.score_sources(
            [str(folder / "list.csv"), str(folder / "shards.tar")], str(folder / "mixed"), how
        )
        facts["mixed"] = [asdict(one) for one in mixed.outcomes]
        mark("mixed")

        data = ray.data.read_binary_files([str(calls[0]), str(calls[3])], include_paths=True)
        scored = mtqnet.ray.score(data, model, concurrency=1)
        facts["dataset"] = sorted(scored.take_all(), key=lambda row: str(row["path"]))
        mark("dataset")
    (folder / "facts.json").write_text(json.dumps(facts))
    mark("end")


def _names(options: str) -> list[str]:
    from pyarrow import fs

    store = fs.FileSystem.from_uri(f"s3://bucket?{options}")[0]
    return sorted(info.path for info in store.get_file_info(fs.FileSelector("bucket/scores", recursive=True)))


def _download(options: str, target: Path) -> None:
    from pyarrow import fs

    store = fs.FileSystem.from_uri(f"s3://bucket?{options}")[0]
    fs.copy_files("bucket/scores", str(target), source_filesystem=store)


def _delete(options: str, name: str) -> None:
    from pyarrow import fs

    fs.FileSystem.from_uri(f"s3://bucket?{options}")[0].delete_file(f"bucket/{name}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
