"""What happens on a real cluster of several nodes, in a process of its own: Ray's warnings are not this package's.

    python scenario.py FOLDER MODEL

FOLDER/calls holds recordings, one of which kills whatever reads it. They lie in an S3 bucket too (moto, on
loopback). The node that scored the first shard is killed during its second. FOLDER/facts.json has the results.
"""

from __future__ import annotations

import json
import os
import sys
import tarfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import local_cluster
import poison

SHARD_SIZE = 4
SLOW_S = "0.1"
"""Seconds that each file takes, so that a node is killed in the midst of a shard"""


class Scenario:
    """Facts, and the time at which each was known."""

    def __init__(self, folder: Path, model: str, options: str) -> None:
        self.folder, self.options = folder, options
        self.calls = sorted((folder / "calls").glob("*.wav"))
        self.source, self.out = f"s3://bucket/calls?{options}", f"s3://bucket/scores?{options}"
        self.model = model
        self.facts: dict[str, Any] = {}
        self._began = time.monotonic()

    def mark(self, what: str) -> None:
        print(f"{time.monotonic() - self._began:6.1f} {what}", flush=True)

    def score(self, sources: list[str] | None = None, out: str | None = None, **options: Any) -> Any:
        import mtqnet.integrations.ray

        return mtqnet.integrations.ray.score_sources(
            sources or [self.source], out or self.out, self.model, shard_size=SHARD_SIZE, **options
        )

    def node_is_killed(self, cluster: Any, nodes: list[Any]) -> None:
        from mtqnet.integrations.ray.shards import NODE_DIGITS

        killed: list[str] = []

        def told(one: Any, _shards: int) -> None:
            self.mark(f"shard {one.shard} by {one.node}")
            if not killed:
                busy = next(node for node in nodes if one.node.endswith(node.node_id[:NODE_DIGITS]))
                time.sleep(SHARD_SIZE * float(SLOW_S) / 2)
                local_cluster.kill(cluster, busy)
                killed.append(one.node)
                self.mark("killed")

        result = self.score(advance=told)
        self.facts["killed"] = [asdict(one) for one in result.outcomes]
        _download(self.options, self.folder / "scores")

    def reruns(self) -> None:
        again = self.score()
        self.facts["again"] = {"kept": len(again.kept), "recordings": again.recordings}
        local_cluster.store(self.options).delete_file("bucket/scores/part-000001.parquet")
        mended = self.score()
        self.facts["mended"] = {"kept": sorted(mended.kept), "recordings": mended.recordings}
        self.mark("reruns")

    def mixed(self) -> None:
        with tarfile.open(self.folder / "shards.tar", "w") as archive:
            for file in self.calls:
                archive.add(file, f"a/{file.name}")
        rows = [self.calls[0], "missing.wav", self.source.replace("/calls?", f"/calls/{self.calls[2].name}?")]
        (self.folder / "list.csv").write_text("\n".join(["id,file", *(f"1,{row}" for row in rows)]) + "\n")
        given = [str(self.folder / "list.csv"), str(self.folder / "shards.tar")]
        result = self.score(given, str(self.folder / "mixed"))
        self.facts["mixed"] = [asdict(one) for one in result.outcomes]
        self.mark("mixed")

    def dataset(self) -> None:
        import ray

        import mtqnet.integrations.ray

        data = ray.data.read_binary_files([str(self.calls[0]), str(self.calls[3])], include_paths=True)
        scored = mtqnet.integrations.ray.score(data, self.model, concurrency=1)
        self.facts["dataset"] = sorted(scored.take_all(), key=lambda row: str(row["path"]))
        self.mark("dataset")


def main(folder: Path, model: str) -> None:
    os.environ["PYTHONPATH"] = os.pathsep.join([poison.folder(), os.environ["PYTHONPATH"]])
    os.environ["POISON_SLOW_S"] = SLOW_S
    with local_cluster.bucket() as options, local_cluster.cluster(2) as (cluster, nodes):
        scenario = Scenario(folder, model, options)
        local_cluster.upload(options, scenario.calls, "calls")
        scenario.dataset()  # as long as there are two processors: Ray Data reads with one of them
        scenario.node_is_killed(cluster, nodes)
        scenario.reruns()
        scenario.mixed()
    (folder / "facts.json").write_text(json.dumps(scenario.facts))


def _download(options: str, target: Path) -> None:
    from pyarrow import fs

    target.mkdir()
    fs.copy_files("bucket/scores", str(target), source_filesystem=local_cluster.store(options))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
