"""The tables of docs/explanation/cost.md, made from the files in results/benchmarks.

python -m benchmarks.cost_page            # writes them between the page's marks
python -m benchmarks.cost_page --check    # exits 1 where the page says something else
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "results" / "benchmarks"
PAGE = ROOT / "docs" / "explanation" / "cost.md"
SIIM_STEPS = 15 * 33_126 * 4  # images that train in 15 epochs of five folds
FOLDS = 5
_NOT_YET = (
    "Not measured yet in this version: `python -m benchmarks.growth --part report`, `prepare` and "
    "`duplicates` write\n`results/benchmarks/growth.json`, and `python -m benchmarks.cost_page` "
    "puts the points here."
)

Facts = dict[str, Any]


def read(name: str) -> Facts | None:
    """A results file; None where it is absent."""
    path = RESULTS / f"{name}.json"
    found: Facts | None = json.loads(path.read_text()) if path.is_file() else None
    return found


def growth_lines() -> list[str]:
    """Points and lines of every part that was measured."""
    found = read("growth")
    if found is None:
        return [_NOT_YET]
    lines = []
    for part, facts in found.items():
        lines += [f"**{part}** ({facts['date']}, {facts['machine']}, {facts['commit']}):", ""]
        keys = [k for k, v in facts["points"][0].items() if not isinstance(v, list | dict)]
        lines += [f"| {' | '.join(k.replace('_', ' ') for k in keys)} |", "|---" * len(keys) + "|"]
        for point in facts["points"]:
            lines.append(f"| {' | '.join(f'{point.get(k, 0):,}' for k in keys)} |")
        named = {
            **facts.get("lines", {}),
            **({"seconds": facts["line"]} if "line" in facts else {}),
        }
        lines += [""] if named else []
        for key, line in named.items():
            lines.append(
                f"- {key.replace('_', ' ')}: {line['seconds_at_none']} s and "
                f"{line['seconds_per_1000_images']} s for each 1,000 images; the worst point is "
                f"{line['worst_share_off'] * 100:.1f} % of the largest off the line"
            )
        if "extrapolated" in facts:
            at = facts["extrapolated"]
            lines.append(
                f"- by this line, not measured: {at['images']:,} images in {at['seconds']:,} s"
            )
        lines.append("")
    return lines[:-1]


def siim_lines() -> list[str]:
    """What SIIM's five folds take, by side."""
    cpu, gpu = read("training_cpu"), read("gpu_h200")
    if cpu is None or gpu is None:
        return []
    card = round(gpu["loops"][0]["ours, images/s"])
    rate, best = cpu["networks"][0]["images_per_second"], cpu["instructions"][-1]
    rates = {
        f"1 CPU ({cpu['machine']}, {best}; {rate} images/s)": rate,
        f"1 GPU ({gpu['device'].partition(',')[0]}; {card:,} images/s)": card,
        "8 GPUs (five busy, a fold each)": card * FOLDS,
    }
    sides = (128, 256, 512)
    lines = [f"| on | {' | '.join(f'{side} px' for side in sides)} |", "|---" * 4 + "|"]
    for name, rate in rates.items():
        hours = [SIIM_STEPS / rate * (side / 128) ** 2 / 3600 for side in sides]
        lines.append(f"| {name} | {' | '.join(spoken(value) for value in hours)} |")
    return lines


def spoken(hours: float) -> str:
    """Minutes, hours or days."""
    if hours < 1.5:
        return f"{hours * 60:.0f} min"
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.1f} days"


def with_tables(text: str) -> str:
    """`text` with both tables in the place of those between the marks."""
    for name, lines in (("growth", growth_lines()), ("siim", siim_lines())):
        begin, end = f"<!-- table: {name} -->", f"<!-- /{name} -->"
        before, rest = text.split(begin)
        text = "\n".join([before + begin, *lines, end]) + rest.split(end)[1]
    return text


def main() -> None:
    """Write them, or hold the page against them."""
    text = PAGE.read_text()
    made = with_tables(text)
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(made)
    elif made != text:
        sys.exit("docs/explanation/cost.md is not of results/benchmarks: run it without --check")


if __name__ == "__main__":
    main()
