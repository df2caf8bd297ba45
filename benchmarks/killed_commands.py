"""SIGKILL before every change on the disk of every command, and what is made of what is left.

    python -m benchmarks.killed_commands --work DIR              # all of them, hours on two cores
    python -m benchmarks.killed_commands --work DIR --only ship blend --every 3

Each command is run once to its end on a tiny run. Then again, in a process that copies DIR/run
before each file or folder there is opened for writing, renamed or removed: that is what SIGKILL at
that moment leaves. From every copy a bundle that loads must give its golden score, and the same
command must end as it did, with the same files; a refusal must name what to do. A line is printed
for each that does not, and the exit code is 1 then.
"""

from __future__ import annotations

import argparse
import importlib
import os
import re
import runpy
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.killed_states import killed_before_changes
from benchmarks.killed_verbs import SPACE, commands, run_of
from melanoma.storage import TEMPORARY

_PRELOADED = ("torchvision.models", "melanoma.workflows.train", "melanoma.workflows.evaluate")
# What differs between two runs of one command: dates, durations, times of files, and the digests of
# what states them.
_MOMENTS = re.compile(
    rb"\b1\d{18}\b|\b[0-9a-f]{64}\b|\d{4}-\d\d-\d\d[T ]?[\d:.+Z]*|[\d.,]+ (s|min|images/s)\b|"
    rb"\"[a-z_]*(seconds|per_second|memory|time|date|started|finished)[a-z_]*\": *[^,\n}]*"
)
_DIGITS = re.compile(rb"(\d\.\d{5})\d+")  # scores of another batch differ in the eighth
_UNFINISHED = ".openvino/partial-"  # swept after an hour


def in_fork(work: Callable[[], Any], log: Path) -> int:
    """The exit status of `work` in a process of its own, whose words go to `log`."""
    process = os.fork()
    if process == 0:
        code = 1
        try:
            speak_into(log)
            work()
            code = 0
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else int(error.code is not None)
        except BaseException as error:
            sys.stderr.write(f"{type(error).__name__}: {error}\n")
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def speak_into(log: Path) -> None:
    """What this process says from now on goes to `log`."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)


def run_module(module: str, arguments: list[str]) -> None:
    """As `python -m melanoma.MODULE ARGUMENTS`."""
    sys.argv = [f"melanoma.{module}", *arguments]
    runpy.run_module(f"melanoma.{module}", run_name="__main__", alter_sys=True)


def contents(folder: Path) -> dict[str, bytes]:
    """What stands there, without moments, by relative path."""
    found: dict[str, bytes] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        orphan = path.name.startswith(".") and path.name.endswith(TEMPORARY)  # swept after minutes
        orphan |= _UNFINISHED in name or path.suffix == ".db"  # a database has dates in it
        is_ours = path.is_file() and path.name != ".lock" and not orphan
        if is_ours and not name.startswith(("data/", "other/")):
            data = path.read_bytes()
            is_text = path.suffix in {
                ".json",
                ".jsonl",
                ".csv",
                ".html",
                ".md",
                ".yaml",
                ".svg",
                ".txt",
            }
            found[name] = _DIGITS.sub(rb"\1", _MOMENTS.sub(b"", data)) if is_text else data
    return found


def check_bundles(folder: Path) -> None:
    """Every sealed bundle below gives its golden score, or is refused by name."""
    from melanoma.errors import WeightsError
    from melanoma.scoring.bundle.bundle import load_bundle
    from melanoma.scoring.bundle.golden import check_golden
    from melanoma.scoring.bundle.staging import MANIFEST
    from melanoma.scoring.scorer import Scorer

    for manifest in folder.rglob(MANIFEST):
        try:
            bundle = load_bundle(manifest.parent)
        except WeightsError as error:
            print("refused:", error)
            continue
        if bundle.golden is None:
            raise SystemExit(f"{manifest.parent.name} loads without a golden score")
        found = check_golden(Scorer(bundle))
        if not found.holds:
            raise SystemExit(f"{manifest.parent.name}: {found.says}")


class Campaign:
    """The folder DIR/run, its states by name, and what was found."""

    def __init__(self, work: Path, every: int) -> None:
        self.work, self.every = work, every
        self.folder, self.log = work / "run", work / "log.txt"
        self.found: list[str] = []

    def prepare(self) -> None:
        """The states that commands start from, made once."""
        base = self.work / "states"
        if (base / "two").exists():
            return
        shutil.rmtree(base, ignore_errors=True)
        base.mkdir(parents=True)
        self._restore(None)
        from melanoma.data.phantoms.dataset import make_phantoms

        make_phantoms(self.folder / "data", images=160, patients=40, size=32, seed=3)
        make_phantoms(self.folder / "other", images=60, patients=20, size=32, seed=4)
        (self.folder / "other.yaml").write_text(
            "name: other\ndata: {reader: siim}\nfolds: {name: other}\nstudy: {source: phantoms}\n"
        )
        (self.folder / "space.yaml").write_text(SPACE)
        steps = commands(self.folder)
        self._keep("new")
        self._must(*steps["prepare"][:2])
        self._keep("prepared")
        self._must(*steps["split"][:2])
        self._keep("split")
        self._must("train", [*run_of(self.folder), "--device", "cpu", "--fold", "all"])
        self._keep("trained")
        self._must(*steps["evaluate"][:2])
        self._keep("evaluated")
        second = run_of(self.folder, "w2")
        self._must("train", [*second, "--device", "cpu", "--fold", "all", "--seed", "5"])
        self._must("evaluate", [*second, "--seed", "5"])
        self._keep("two")

    def _keep(self, state: str) -> None:
        shutil.copytree(self.folder, self.work / "states" / state, symlinks=True)

    def _restore(self, source: Path | None) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        if source is None:
            self.folder.mkdir(parents=True)
        else:
            shutil.copytree(source, self.folder, symlinks=True)

    def _must(self, module: str, arguments: list[str]) -> None:
        if in_fork(lambda: run_module(module, arguments), self.log):
            raise SystemExit(f"{module} failed: {self.log.read_text()[-2000:]}")

    def try_command(self, name: str) -> None:
        """Kill one command everywhere."""
        module, arguments, state = commands(self.folder)[name]
        start = self.work / "states" / state
        self._restore(start)
        self._must(module, arguments)
        expected = contents(self.folder)
        self._restore(start)
        killed = self.work / "killed"
        shutil.rmtree(killed, ignore_errors=True)

        def work() -> None:
            speak_into(self.log)
            try:
                run_module(module, arguments)
            except SystemExit as error:
                if error.code:
                    raise

        points = killed_before_changes(self.folder, killed, work, every=self.every)[:-1]
        self._compare(name, "unbroken twice", expected)
        ends: dict[str, int] = {}
        for point in points:
            end = self._go_on(name, point, module, arguments, expected)
            ends[end] = ends.get(end, 0) + 1
        print(f"{name}: {len(points)} kills; {ends}", flush=True)

    def _go_on(
        self,
        name: str,
        point: Path,
        module: str,
        arguments: list[str],
        expected: dict[str, bytes],
    ) -> str:
        self._restore(point)
        shutil.rmtree(point)
        before = point.with_suffix(".txt").read_text()
        where = f"killed before {before}"
        if in_fork(lambda: check_bundles(self.folder), self.log):
            self._note(name, where, f"half-made: {self.log.read_text()[-300:]}")
        code = in_fork(lambda: run_module(module, arguments), self.log)
        if code:
            said = self.log.read_text().strip().splitlines() or [""]
            print(f"  {name}, {where}: exit {code}: {said[-1][:300]}", flush=True)
            return f"exit {code}"
        return "same" if self._compare(name, where, expected) else "differs"

    def _compare(self, name: str, where: str, expected: dict[str, bytes]) -> bool:
        found = contents(self.folder)
        names = sorted(expected.keys() | found.keys())
        differ = [one for one in names if expected.get(one) != found.get(one)]
        if differ:
            self._note(name, where, f"differ: {differ[:8]}")
            print(f"    {first_difference(expected.get(differ[0]), found.get(differ[0]))}")
        return not differ

    def _note(self, name: str, where: str, what: str) -> None:
        self.found.append(f"{name}, {where}: {what}")
        print("  " + self.found[-1], flush=True)


def first_difference(one: bytes | None, other: bytes | None) -> str:
    """The first line that is not the same, of both."""
    if one is None or other is None:
        return "missing" if other is None else "too much"
    for left, right in zip(one.splitlines(), other.splitlines(), strict=False):
        if left != right:
            return f"{left[:150]!r} is {right[:150]!r}"
    return f"{len(one)} bytes are {len(other)}"


def main() -> None:
    """Try the commands that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--every", type=int, default=1)
    given = parser.parse_args()
    np.random.seed(0)
    for name in _PRELOADED:
        importlib.import_module(name)
    import torch

    torch.set_num_threads(1)
    campaign = Campaign(given.work.resolve(), given.every)
    campaign.prepare()
    for name in given.only or commands(campaign.folder):
        campaign.try_command(name)
    print(f"{len(campaign.found)} points where something is wrong")
    sys.exit(bool(campaign.found))


if __name__ == "__main__":
    main()
