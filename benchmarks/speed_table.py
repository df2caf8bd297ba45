"""README's table of speed, made from the files in results/benchmarks.

    python -m benchmarks.speed_table            # writes it between README's two marks
    python -m benchmarks.speed_table --check    # exits 1 where README says something else

A row is a ratio to what a user would run instead, in the same run on the same machine, or a time
where there is nothing to compare with. A row whose file is absent is left out.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "results" / "benchmarks"
README = ROOT / "README.md"
BEGIN, END = "<!-- speed: python -m benchmarks.speed_table -->", "<!-- /speed -->"
_NAMES = {
    "se_resnext50_32x4d": "SE-ResNeXt50",
    "mobilenet_v2": "MobileNetV2",
    "resnet34": "ResNet34",
}

_BUNDLES = {"dermoscopy_mobilenet": "the shipped bundle"}

Facts = dict[str, Any]
Rows = Iterator[tuple[str, str]]


def backends(found: Facts) -> Rows:
    """Ensembles against eager torch."""
    networks: dict[tuple[str, int], list[Facts]] = {}
    for row in found["ensembles"]:
        networks.setdefault((row["backbone"], row["size"]), []).append(row)
    for (backbone, size), rows in networks.items():
        batches = " and ".join(str(row["batch"]) for row in rows)
        engines = [name for name in rows[0]["engines"] if name != "torch float32"]
        ratios = {n: [f"{row['engines'][n]['times_torch']:.1f}" for row in rows] for n in engines}
        said = ", ".join(f"{name}: {' and '.join(each)} times" for name, each in ratios.items())
        model = f"five {_NAMES[backbone]} at {size} px, {batches} at once"
        yield f"{model}, against eager torch in float32", said


def shipped_speed(found: Facts) -> Rows:
    """The shipped bundle, by command and service."""
    ours, torch = found["engines"]["openvino float32"], found["engines"]["torch float32"]
    said = "; ".join(
        f"{what} {ours[key]:,.5g} {unit} (on torch {torch[key]:,.5g})"
        for what, key, unit in (
            ("`predict DIR`", "photographs_a_second", "photographs a second"),
            ("one `/predict`", "predict_ms_p50", "ms"),
            ("one Grad-CAM by `/explain`", "gradcam_ms_p50", "ms"),
            ("ready to serve in", "ready_seconds", "s"),
        )
    )
    yield (
        f"the shipped bundle (five members, {found['views']} views), an answer at the median",
        said,
    )


def service(found: Facts) -> Rows:
    """Answers a second, beside other servers over the same models."""
    others = {"fastapi": "a plain FastAPI handler in eager torch", "litserve": "LitServe"}
    present = {said: found[key] for key, said in others.items() if key in found}
    for part, what in (("capacity", "8 clients"), ("three_times", "three times its capacity")):
        ours = found["ours"][part]
        # Measured before the time to the last answer was: what queued is counted, its time is not.
        late = part == "three_times" and "seconds_to_the_last_answer" not in ours
        unit = "for each second of requests, later ones counted" if late else "a second"
        said = f"{ours['answers_per_second']:.1f} answers {unit}"
        if "ours_bfloat16" in found:
            faster = found["ours_bfloat16"][part]["answers_per_second"]
            said += f", {faster:.1f} in bfloat16"
        if "healthz" in ours:
            health = ours["healthz"]
            said += f", `/healthz` p95 {health['p95']:.0f} ms, at most {health['most']:.0f}"
        for name, theirs in present.items():
            said += f"; {name} {theirs[part]['answers_per_second']:.1f}"
        yield f"{_BUNDLES.get(found['bundle'], found['bundle'])} behind HTTP, {what}", said


def siege(found: Facts) -> Rows:
    """Everything at once."""
    health, memory = found["healthz"], found["megabytes"]
    said = f"`/healthz` p99 {health['p99']:.0f} ms, at most {health['most']:.0f}"
    if "idle_server" in found:
        said += f" (an idle server beside it {found['idle_server']['most']:.0f})"
    said += "; "
    said += f"memory at most {memory['peak']:,} MB; other answers than 200, 4xx, 503: "
    said += str(sum(sum(wrong.values()) for wrong in found["wrong"].values()))
    if not found["holds"]:
        said = f"does not hold, where `/healthz` may take 100 ms and memory 2 GB: {said}"
    yield "the shipped bundle at three times its capacity, with LIME, batches and bombs", said


def lime_224(found: Facts) -> Rows:
    """LIME beside the lime package."""
    by = found["precisions"]
    said = ", ".join(f"{name} {one['seconds']:.1f} s" for name, one in by.items())
    theirs = [f"{n} {one['lime']['seconds']:.1f} s" for n, one in by.items() if one["lime"]]
    said += f"; the lime package {', '.join(theirs)}"
    yield f"LIME, ResNet34 at {found['size']} px, a photograph of {found['photograph']}", said


def training_cpu(found: Facts) -> Rows:
    """Training on a CPU, one network or several."""
    several = []
    for one in found["networks"]:
        said = f"{_NAMES[one['model']]} {one['ratio']:.2f} times its images a second"
        if "compiled_ratio" in one:
            said += f", {one['compiled_ratio']:.2f} with `training.compile`"
        several.append(said)
    first = found["networks"][0]
    what = f"training in {first['precision']} at {first['size']} px on CPU"
    yield f"{what}, against a plain float32 loop", "; ".join(several)


def training_gpu(found: Facts) -> Rows:
    """Training on a GPU, beside timm's loop in the same process."""
    loops, waiting, (_, large) = found["loops"][0], found["waiting"], found["steps"]
    rounds, busy = loops["ours / timm, by round"], "busy_between_first_and_last_kernel"
    what = f"training in {found['precision']} at {found['size']} px on one {found['device']}"
    said = (
        f"{_NAMES[found['model']]} {loops['ours / timm']:.2f} times its images a second "
        f"({min(rounds):.2f} to {max(rounds):.2f}; {loops['ours, images/s']:,.0f} and "
        f"{loops['timm, images/s']:,.0f}), {found['compiled']['loop_images_per_second']:,.0f} with "
        f"`training.compile` in a later call; the GPU computes {100 * waiting['ours'][busy]:.0f} % "
        f"of the time (timm's {100 * waiting['timm'][busy]:.0f} %), "
        f"{100 * large['busy'][busy]:.0f} % in batches of {large['batch']} that lie on it"
    )
    yield f"{what.partition(', driver')[0]}, against a loop of timm's parts", said


def many_duplicates(found: Facts) -> Rows:
    """The near-duplicate search among many."""
    several = [
        f"{row['seconds']:.0f} s among {row['images']:,} images, "
        f"{row['planted_found']} of {row['planted']} planted found"
        for row in found["rows"]
    ]
    yield "near-duplicates", "; ".join(several)


FILES: dict[str, Callable[[Facts], Rows]] = {
    "backends": backends,
    "backends_avx512": backends,
    "shipped_speed": shipped_speed,
    "shipped_speed_avx2": shipped_speed,
    "service": service,
    "service_dermoscopy_mobilenet": service,
    "siege": siege,
    "lime_224": lime_224,
    "lime_224_avx512": lime_224,
    "training_cpu": training_cpu,
    "gpu_h200": training_gpu,
    "training_cpu_float32": training_cpu,
    "many_duplicates": many_duplicates,
}


def make_table() -> str:
    """The table, with its marks."""
    lines = [BEGIN, "| what | measured | file, date, machine, commit |", "|---|---|---|"]
    for name, rows in FILES.items():
        path = RESULTS / f"{name}.json"
        if not path.exists():
            continue
        found = json.loads(path.read_text())
        place = f"[{path.name}]({path.relative_to(ROOT).as_posix()})"
        best = found.get("instructions", [])[-1:]
        where = ", ".join([place, found["date"], found["machine"], *best, found["commit"]])
        lines += [f"| {what} | {said} | {where} |" for what, said in rows(found)]
    return "\n".join([*lines, END])


def with_table(text: str) -> str:
    """`text` with the table in the place of the one between the marks."""
    before, rest = text.split(BEGIN)
    return before + make_table() + rest.split(END)[1]


def main() -> None:
    """Write it, or hold README against it."""
    text = README.read_text()
    made = with_table(text)
    if "--check" not in sys.argv[1:]:
        README.write_text(made)
    elif made != text:
        sys.exit(
            "README's table of speed is not that of results/benchmarks: run it without --check"
        )


if __name__ == "__main__":
    main()
