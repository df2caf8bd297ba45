"""train and predict --on ray, whole commands, while what runs them is killed at random moments.

    python -m benchmarks.ray_kills --rounds 8 --seed 0       # needs the extra [ray]
    python -m benchmarks.ray_kills --rounds 8 --seed 0 --s3  # and [s3], moto[server]: in a bucket

Three folds of a small network on phantoms, and their photographs in parts of eight, first without
Ray and then on three nodes of one core on this machine. In each round one of the commands runs, and
up to three times, at random moments of it, a process of Ray's workers is killed (SIGKILL), or a
node, or the command itself, which is then given again. A round holds when the command ends with
exit code 0 and its result is the one without Ray: the same bytes of every oof.csv; exactly one row
a photograph, with the same probability to 1e-6. The exit code is 1 otherwise.
The figures go to results/benchmarks/ray_kills.json. A round takes half a minute of two quiet cores.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import yaml

from benchmarks.facts import run_facts
from benchmarks.service import free_port
from melanoma.data.phantoms.dataset import make_phantoms
from melanoma.storage import write_json

OUT = Path("results/benchmarks/ray_kills.json")
KINDS = ("worker", "node", "command")
FOLDS, PART = 3, 8
LIMIT_SECONDS = 900
MOST_DIFFERENCE = 1e-6
RECIPE = {
    "name": "tiny",
    "data": {"reader": "siim"},
    "image": {"size": 32},
    "folds": {"name": "tiny", "k": FOLDS},
    "model": {"backbone": "resnet18", "pretrained": "none"},
    "schedule": {"name": "constant"},
    "training": {"epochs": 6, "batch_size": 16, "precision": "float32", "workers": 0},
    "evaluation": {"resamples": 100},
}


def predict_in_small_parts() -> None:
    """predict, with parts of PART files instead of a thousand."""
    from melanoma import terminal
    from melanoma.cluster.ray_scoring import score_on_ray
    from melanoma.predict import app

    assert score_on_ray.__kwdefaults__ is not None
    score_on_ray.__kwdefaults__["shard_size"] = PART
    terminal.run(app)


PREDICT = "from benchmarks.ray_kills import predict_in_small_parts as p; p()"


@dataclass(frozen=True)
class Work:
    """Where the data lie, what the commands gave without Ray, and where they write on it."""

    folder: Path
    address: str
    bucket: str = ""

    def command(self, name: str, run: str) -> list[str]:
        """`train` or `predict` on the cluster, into a place that only `run` has."""
        on = ["--on", f"ray={self.address}", "--per-task", "cpus=1", "--device", "cpu"]
        if name == "train":
            states = ["--states", f"{self.bucket}/runs/{run}"] if self.bucket else []
            return [*self.train(self.folder / run), *states, *on]
        out, weights = self.scores(run), str(self.folder / "alone")
        given = [str(self.folder / "data/jpeg"), "--weights", weights, "--out", out]
        return [sys.executable, "-c", PREDICT, *given, *on]

    def train(self, weights: Path) -> list[str]:
        """The command without Ray, which has folds.csv and the array made."""
        named = {"config": "tiny.yaml", "data": "data", "arrays": "arrays", "folds": "folds.csv"}
        options = [text for key, name in named.items() for text in (f"--{key}", self.folder / name)]
        given = ["--fold", "all", "--device", "cpu", "--weights", weights, *options]
        return [sys.executable, "-m", "melanoma.train", *map(str, given)]

    def scores(self, run: str) -> str:
        return f"{self.bucket or self.folder}/scores/{run}"

    def is_same(self, name: str, run: str) -> bool:
        """Whether the run's result is the one without Ray."""
        if name == "train":
            places = [f"fold_{fold}/oof.csv" for fold in range(FOLDS)]
            both = [(self.folder / "alone" / p, self.folder / run / p) for p in places]
            return all(one.read_bytes() == other.read_bytes() for one, other in both)
        wanted = pd.read_csv(self.folder / "alone.csv").set_index("image_name")
        rows = pd.concat(read_parts(self.scores(run))).set_index("image_name")
        if sorted(rows.index) != sorted(wanted.index):
            return False
        found = rows["melanoma_probability"].reindex(wanted.index)
        return bool((found - wanted["melanoma_probability"]).abs().max() <= MOST_DIFFERENCE)


def read_parts(address: str) -> Iterator[pd.DataFrame]:
    """The rows of every part."""
    import fsspec
    from pyarrow import parquet

    files, root = fsspec.core.url_to_fs(address)
    for name in sorted(files.ls(root, detail=False)):
        if Path(name).name.startswith("part-"):
            with files.open(name, "rb") as file:
                yield parquet.read_table(file).to_pandas()


def prepare(folder: Path) -> None:
    """The results without Ray, in one thread as a task of one core has."""
    make_phantoms(folder / "data", images=60, patients=20, size=48, seed=3)
    (folder / "tiny.yaml").write_text(yaml.safe_dump(RECIPE))
    alone = folder / "alone"
    subprocess.run(Work(folder, "").train(alone), check=True)
    for verb, more in (
        ("evaluate", ["--arrays", folder / "arrays", "--folds", folder / "folds.csv"]),
        ("predict", [folder / "data/jpeg", "--out", folder / "alone.csv", "--device", "cpu"]),
    ):
        given = ["--weights", alone, *more]
        if verb == "evaluate":
            given += ["--config", folder / "tiny.yaml", "--data", folder / "data"]
        subprocess.run([sys.executable, "-m", f"melanoma.{verb}", *map(str, given)], check=True)


class Nodes:
    """A head, which stays, and two nodes that may be killed; one core each."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        # The smallest stores that Ray allows: nothing large passes here.
        self.options = {"num_cpus": 1, "object_store_memory": 80_000_000}
        self.cluster = Cluster(initialize_head=True, head_node_args=self.options)
        self.others = [self.cluster.add_node(**self.options) for _ in range(2)]

    def workers(self) -> list[psutil.Process]:
        """What Ray has started to work, on any node; not its agents, whose node ends with them."""
        found = []
        for node in (self.cluster.head_node, *self.others):
            raylet = node.all_processes["raylet"][0].process.pid
            with suppress(psutil.Error):
                for one in psutil.Process(raylet).children(recursive=True):
                    title = " ".join(one.cmdline())
                    if title.startswith("ray::") and not re.search("IDLE|Agent", title):
                        found.append(one)
        return found

    def kill_node(self, rng: random.Random) -> str:
        """A node is gone without a word, and another one comes."""
        lost = self.others.pop(rng.randrange(len(self.others)))
        self.cluster.remove_node(lost, allow_graceful=False)
        self.others.append(self.cluster.add_node(**self.options))
        return "node"

    def kill_worker(self, rng: random.Random) -> str:
        """Its title, or nothing where none works at the moment."""
        workers = self.workers()
        if not workers:
            return ""
        one = rng.choice(workers)
        with suppress(psutil.Error):
            title = one.cmdline()[0]
            one.kill()
            return title
        return ""


def run_round(
    nodes: Nodes, work: Work, name: str, run: str, plan: Sequence[tuple[float, str]], rng: Any
) -> dict[str, Any]:
    """The command, with kills at the seconds of `plan`; how it ended, and what was killed."""
    command, start, killed = work.command(name, run), time.monotonic(), list[str]()
    log = work.folder / f"{run}.log"
    process = _start(command, log)
    for second, kind in plan:
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, start + second - time.monotonic()))
        if process.poll() is not None:
            break
        if kind == "command":
            process.kill()
            process.wait()
            process = _start(command, log)
            killed.append("command")
        elif kind == "node":
            killed.append(nodes.kill_node(rng))
        else:
            while not (title := nodes.kill_worker(rng)) and process.poll() is None:
                time.sleep(0.1)  # nothing works yet
            killed.append(title)
    try:
        code = process.wait(LIMIT_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        code = -process.wait()
    result = {
        "command": name,
        "killed": [one for one in killed if one],
        "exit_code": code,
        "seconds": round(time.monotonic() - start, 1),
        "same": code == 0 and work.is_same(name, run),
    }
    if not result["same"]:
        print(log.read_text()[-4000:], file=sys.stderr)
    print(result, flush=True)
    return result


def _start(command: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as file:
        return subprocess.Popen(command, stdout=file, stderr=file)


@contextmanager
def bucket() -> Iterator[str]:
    """A bucket on moto's server, to which the environment leads."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.1)
        os.environ |= {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_ACCESS_KEY_ID": "key"}
        os.environ |= {"AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
        import s3fs

        s3fs.S3FileSystem().mkdir("bucket")
        yield "s3://bucket"
    finally:
        server.kill()
        server.wait()


@contextmanager
def no_bucket() -> Iterator[str]:
    yield ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--s3", action="store_true", help="states and scores in a bucket")
    options = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    os.environ |= {"RAY_worker_niceness": "0", "MELANOMA_BACKEND": "torch"}
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")])
    rng, rounds = random.Random(options.seed), list[dict[str, Any]]()
    with tempfile.TemporaryDirectory() as folder, (bucket if options.s3 else no_bucket)() as place:
        prepare(Path(folder))
        nodes = Nodes()
        try:
            work = Work(Path(folder), nodes.cluster.address, place)
            plain = {
                name: run_round(nodes, work, name, f"plain_{name}", [], rng)
                for name in ("train", "predict")
            }
            for number in range(options.rounds):
                name = ("train", "predict")[number % 2]
                kills = rng.randint(1, 3)
                moments = sorted(rng.uniform(0.1, 1.0) for _ in range(kills))
                plan = [(m * plain[name]["seconds"], rng.choice(KINDS)) for m in moments]
                rounds.append(run_round(nodes, work, name, f"round_{number}", plan, rng))
        finally:
            nodes.cluster.shutdown()
    held = sum(one["same"] for one in rounds)
    result = {**run_facts("ray_kills"), "nodes": 3, "undisturbed": plain, "rounds": rounds}
    write_json(OUT, {**result, "held": held})
    print(f"{held} of {len(rounds)} rounds held, {sum(len(r['killed']) for r in rounds)} kills")
    return int(held < len(rounds) or not all(one["same"] for one in plain.values()))


if __name__ == "__main__":
    sys.exit(main())
