"""How time and memory grow with the number of images: measured points, and the line through them.

    python -m benchmarks.growth --part report
    python -m benchmarks.growth --part prepare --photographs DIR
    python -m benchmarks.growth --part duplicates --array x_train_128.npy --images 10015 33126

report: reading a table, split, a whole report with 2,000 resamples and its files, of made-up rows
and scores in the sizes of HAM10000, SIIM and ISIC 2024 (401,059 rows of 1,042 patients). prepare:
JPEGs of 1024 x 768 made of DIR's photographs, decoded and squared on one core, beside decoding
alone by Pillow and by OpenCV, the most that a program with that decoder reaches. duplicates: see
many_duplicates. Every point is a process of its own, so that its peak of memory is its own. Adds
the part to results/benchmarks/growth.json; docs/explanation/cost.md reads it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import pandas as pd
from PIL import Image

from benchmarks.facts import run_facts
from melanoma.storage import write_json

OUT = Path("results/benchmarks/growth.json")
REPORT = ((10_015, 7_470), (33_126, 2_056), (100_000, 1_042), (401_059, 1_042))
_POSITIVES = 0.0176  # SIIM's share
_PHOTOGRAPH = (1024, 768)


def apart(function: Callable[..., dict[str, Any]], *given: Any) -> dict[str, Any]:
    """What the function gives in a process of its own, and the peak of its memory."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_with_peak, function, given).result()


def _with_peak(function: Callable[..., dict[str, Any]], given: Sequence[Any]) -> dict[str, Any]:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = function(*given)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {**found, "peak_mb": round(peak / 1024), "peak_before_mb": round(before / 1024)}


def line_through(points: Sequence[dict[str, Any]], key: str) -> dict[str, float]:
    """Least squares of seconds = start + images * slope, and how far the worst point is off it."""
    counts = np.array([point["images"] for point in points], float)
    seconds = np.array([point[key] for point in points], float)
    slope, start = np.polyfit(counts, seconds, 1)
    off = np.abs(start + slope * counts - seconds).max() / seconds.max()
    return {
        "seconds_per_1000_images": round(float(slope) * 1000, 4),
        "seconds_at_none": round(float(start), 3),
        "worst_share_off": round(float(off), 3),
    }


def made_up_table(path: Path, rows: int, patients: int) -> None:
    """A train.csv as SIIM's: every patient has an image, the others fall to them unevenly."""
    rng = np.random.default_rng(0)
    weights = rng.dirichlet(np.full(patients, 2.0))
    who = np.concatenate([np.arange(patients), rng.choice(patients, rows - patients, p=weights)])
    target = (rng.random(rows) < _POSITIVES).astype(int)
    frame = pd.DataFrame(
        {
            "image_name": [f"ISIC_{number:07d}" for number in range(rows)],
            "patient_id": [f"IP_{number:07d}" for number in who],
            "sex": rng.choice(["male", "female"], rows),
            "age_approx": rng.integers(4, 18, rows) * 5.0,
            "anatom_site_general_challenge": rng.choice(
                ["torso", "head/neck", "palms/soles"], rows
            ),
            "diagnosis": np.where(target, "melanoma", "unknown"),
            "benign_malignant": np.where(target, "malignant", "benign"),
            "target": target,
        }
    )
    frame.to_csv(path, index=False)


def measure_report(rows: int, patients: int, resamples: int) -> dict[str, Any]:
    """Seconds of split, report and files."""
    from benchmarks import full_table

    with TemporaryDirectory() as folder:
        table = Path(folder) / "table.csv"
        made_up_table(table, rows, patients)
        start = time.perf_counter()
        found = full_table.measure(table, Path(folder), resamples=resamples)
        whole = time.perf_counter() - start
    kept = {key: found[key] for key in found if key.endswith("_seconds")}
    return {
        "images": rows,
        "patients": patients,
        "resamples": resamples,
        **kept,
        "all_seconds": round(whole, 2),
    }


def make_photographs(source: Path, folder: Path, count: int) -> list[Path]:
    """JPEGs of 1024 x 768, quality 90, of the source's photographs in turn."""
    given = sorted(p for p in source.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg"))[:count]
    if not given:
        raise SystemExit(f"no JPEG below {source}")
    made = []
    for number, path in enumerate(given):
        picture = Image.open(path).convert("RGB").resize(_PHOTOGRAPH, Image.Resampling.BICUBIC)
        made.append(folder / f"{number:05d}.jpg")
        picture.save(made[-1], quality=90)
    return made


def measure_decoding(source: Path, count: int) -> dict[str, Any]:
    """Photographs a second of one core's own time, files in memory's cache, one thread."""
    from melanoma.data.images import read_file_square

    def pillow(path: Path) -> None:
        Image.open(path).load()

    def opencv(path: Path) -> None:
        cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)

    def ours(path: Path) -> None:
        read_file_square(path, size=128, fit="squash")

    ways = {"prepare": ours, "pillow_alone": pillow, "opencv_alone": opencv}
    times: dict[str, list[float]] = {name: [] for name in ways}
    with TemporaryDirectory() as folder:
        paths = make_photographs(source, Path(folder), count)
        for turn in range(4):
            for name, run in ways.items():
                start = time.process_time()
                for path in paths:
                    run(path)
                times[name] += [(time.process_time() - start) / len(paths)] if turn else []
        size = sum(path.stat().st_size for path in paths) / len(paths)
    rates = {
        f"{name}_per_second": round(1 / float(np.median(each)), 1) for name, each in times.items()
    }
    share = np.median(np.array(times["pillow_alone"]) / np.array(times["prepare"]))
    return {
        "images": len(paths),
        "mean_bytes": round(size),
        **rates,
        "decoding_share_of_prepare": round(float(share), 3),
    }


def measure_duplicates(array: Path, count: int) -> dict[str, Any]:
    """One point of many_duplicates."""
    from benchmarks.many_duplicates import measure

    return measure(np.load(array, mmap_mode="r"), count, 500, exact=False)


def report_part(given: argparse.Namespace) -> dict[str, Any]:
    """The points of the report, and their lines."""
    wanted = [pair for pair in REPORT if not given.images or pair[0] in given.images]
    points = []
    for rows, patients in wanted:
        points.append(apart(measure_report, rows, patients, given.resamples))
        print(points[-1], flush=True)
    keys = ("split_seconds", "report_seconds", "files_seconds")
    lines = {key: line_through(points, key) for key in keys} if len(points) > 1 else {}
    return {"points": points, "lines": lines}


def prepare_part(given: argparse.Namespace) -> dict[str, Any]:
    """Decoding on one core."""
    return {"points": [apart(measure_decoding, given.photographs, given.count)]}


def duplicates_part(given: argparse.Namespace) -> dict[str, Any]:
    """The points of the near-duplicate search, and what 401,059 images would take by their line."""
    counts = given.images or [10_015, 33_126, 100_000]
    points = []
    for count in counts:
        points.append(apart(measure_duplicates, given.array, count))
        print(points[-1], flush=True)
    found: dict[str, Any] = {"points": points}
    if len(points) > 1:
        line = line_through(points, "seconds")
        at = line["seconds_at_none"] + line["seconds_per_1000_images"] * 401.059
        found |= {"line": line, "extrapolated": {"images": 401_059, "seconds": round(at)}}
    return found


PARTS = {"report": report_part, "prepare": prepare_part, "duplicates": duplicates_part}


def main() -> None:
    """Measure one part, print it and put it into the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=PARTS, required=True)
    parser.add_argument("--images", type=int, nargs="+", help="these points alone")
    parser.add_argument("--resamples", type=int, default=2000)
    parser.add_argument("--photographs", type=Path, help="folder of JPEGs, for prepare")
    parser.add_argument("--count", type=int, default=150, help="photographs of prepare")
    parser.add_argument("--array", type=Path, help="x_train_128.npy, for duplicates")
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    found = PARTS[given.part](given)
    facts = run_facts("growth")
    for path in (given.photographs, given.array):
        facts["command"] = facts["command"].replace(str(path), path.name if path else "")
    parts = json.loads(given.out.read_text()) if given.out.is_file() else {}
    write_json(given.out, {**parts, given.part: {**facts, **found}})
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
