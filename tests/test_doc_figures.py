"""What the documentation says of the model that ships is what the committed results say."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmarks import ablations, shipped

ROOT = Path(__file__).resolve().parents[1]


BENCHMARKS = ROOT / "results" / "benchmarks"
PAGES = [ROOT / "README.md", *ROOT.glob("results/*.md"), *ROOT.glob("docs/**/*.md")]


def benchmark(name: str) -> Any:
    """results/benchmarks/NAME.json."""
    return json.loads((BENCHMARKS / f"{name}.json").read_text())


def report() -> Any:
    """The shipped model's."""
    return json.loads((shipped.RESULTS / "report.json").read_text())


def percent(share: float) -> str:
    """As a sentence has it: 1.8 % below ten, else whole."""
    return f"{100 * share:.{1 if share < 0.03 else 0}f} %"


def calibrated() -> str:
    """Whether scaling helped the model that ships."""
    helped = report()["calibration"]["method"] != "identity"
    return f"each answer says whether it did (the shipped model: {'yes' if helped else 'no'})"


def crossfit() -> str:
    """What a threshold becomes where other folds chose it."""
    point = report()["thresholds"][0]
    found = {
        name: (100 * point[name]["value"], 100 * point[f"crossfit_{name}"]["value"])
        for name in ("sensitivity", "specificity")
    }
    (one, becomes), (spec, then) = found["sensitivity"], found["specificity"]
    return (
        f"The shipped model's {one:.1f} % sensitivity becomes {becomes:.1f} % that way, "
        f"its specificity {spec:.1f} % becomes {then:.1f} %."
    )


def quality() -> str:
    """What its limits catch and stop."""
    found = benchmark("quality")
    every, good = found["all"], found["good"]
    home, year, siim = (
        percent(next(one["stopped"] for name, one in good.items() if name.startswith(start)))
        for start in ("ham10000", "isic2017", "siim2020")
    )
    return (
        f"Of {found['melanomas']} flagged melanomas, spoiled in {len(found['spoiled'])} ways, "
        f"{every['fell']:,} pictures fell below the threshold and {every['fell_and_stopped']:,} "
        f"of these are stopped ({every['caught']:.0%}), with {home} of the good photographs at "
        f"home, {year} of ISIC 2017 and {siim} of SIIM's sample."
    ).replace("%)", " %)")


def sets_elsewhere() -> str:
    """What the sets of possible classes hold where nothing like it was trained on."""
    folder = shipped.RESULTS / "external" / "without_siim2020_test_on_siim2020"
    sets = json.loads((folder / "report.json").read_text())["prediction_sets"]
    (melanoma,) = [one for one in sets["by_class"] if one["name"] == "melanoma"]
    return (
        f"hold the true class of {percent(sets['overall']['coverage']['value'])} of the images by "
        f"the mean and of {percent(sets['coverage_of_members'])} by members, and melanoma in those "
        f"of {percent(melanoma['coverage']['value'])} of the melanomas"
    )


def novelty() -> str:
    """What is told from a lesion, and what of the lesions pays for it."""
    found = benchmark("novelty")
    novel = {one["name"]: one["novel"] for one in found["summary"]["by_class"]}
    png, images = found["pictures"]["looked at once"]["PNG"]
    own = {"smartphone photographs", "phantoms"}  # have a sentence of their own
    drawn = [
        one
        for one in found["summary"]["others"]
        if one["name"] not in own and "looked at once" not in one["name"]
    ]
    told = sum(one["novel"] for one in drawn) / sum(one["images"] for one in drawn)
    return (
        f"of the drawn and package pictures {hundredths(told)} in 100"
        f"|Of {images} photographs of other things in the half that the score was not built with "
        f"(1,000 of ImageNet's samples, halved by name), {png} are novel as PNG"
        f"|of 142 vascular lesions {novel['vascular lesion']} are called novel"
        f"|Of HAM10000's own 1,113 melanomas {novel['melanoma']} are"
    )


def bfloat16() -> str:
    """What scoring in bfloat16 changes."""
    found = benchmark("bfloat16")
    largest, member, auroc = (
        f"{found[name]:.{digits}f}".lstrip("0")
        for name, digits in (("largest_change", 3), ("member_change", 3), ("auroc_change", 5))
    )
    return (
        f"Of the shipped model's answers on HAM10000's {found['images']:,} held-out photographs "
        f"the largest change is {largest} (of one member's probability {member}), the AUROC of "
        f"melanoma changes by {auroc}, and {found['flags_turned']} flags turn"
    )


def hundredths(share: float) -> str:
    """Of 100."""
    return f"{100 * share:.0f}"


def at_home() -> str:
    """What README says of the model's own kind of photographs."""
    found = report()
    point = found["thresholds"][0]
    graver = ("basal cell carcinoma", "actinic keratosis / intraepithelial carcinoma")
    by_class = {one["name"]: one for one in found["any_malignancy"]["by_class"]}
    flagged, told = (
        sum(by_class[name][what] for name in graver) for what in ("flagged", "other_cancer_likely")
    )
    (proven,) = [one for one in found["subgroups"] if one["value"] == "histology"]
    return (
        f"at its threshold it flags {hundredths(point['sensitivity']['value'])} of 100 melanomas "
        f"and {hundredths(1 - point['specificity']['value'])} of 100 others"
        f"|it flags {flagged} and tells of {told} more as another cancer"
        f"|it is {proven['auroc']['value']:.3f} with a specificity of "
        f"{hundredths(proven['specificity']['value'])} %"
    )


def on_fifths() -> str:
    """What README says of the fifths of the other sources."""
    held_out = {one["name"]: one["held_out"] for one in report()["sources"]}
    points = [held_out[name] for name in ("siim2020", "isic2017_train")]
    caught, missed = (
        " and ".join(hundredths(one) for one in shares)
        for shares in (
            [point["sensitivity"]["value"] for point in points],
            [1 - point["specificity"]["value"] for point in points],
        )
    )
    return f"the threshold flags {caught} of 100 melanomas there, {missed} of 100 others"


def at_their_share() -> str:
    """What is wrong with probabilities that were moved to another set's share of melanomas."""
    held_out = {one["name"]: one["held_out"] for one in report()["sources"]}
    siim, year = held_out["siim2020"], held_out["isic2017_train"]
    low, high = (
        math.exp(abs(one["intercept_at_own_share"]))
        for one in sorted((siim, year), key=lambda one: -one["intercept_at_own_share"])
    )
    assert siim["intercept_at_own_share"] > 0 > year["intercept_at_own_share"]
    return (
        f"its calibration error there is {siim['ece_at_own_share']['value']:.3f}, where exact "
        f"probabilities would show about {siim['ece_if_exact']:.3f} on so many images, and it says "
        f"the odds of melanoma {low:.1f} times too low; on ISIC 2017 it is "
        f"{year['ece_at_own_share']['value']:.3f}, of exact ones about {year['ece_if_exact']:.3f}, "
        f"and the odds are said {high:.1f} times too high"
    )


def elsewhere() -> str:
    """What README says of the same training without what is like a place."""
    by_name = {one["name"]: one for one in report()["external_results"] if one["without"]}
    siim, year = by_name["siim2020"], by_name["isic2017_train"]
    first, second = (
        "{value:.3f} ({low:.3f} to {high:.3f})".format(**one["auroc"]) for one in (siim, year)
    )
    caught, others = (
        " and ".join(hundredths(share) for share in shares)
        for shares in (
            [one["sensitivity"]["value"] for one in (siim, year)],
            [1 - one["specificity"]["value"] for one in (siim, year)],
        )
    )
    return (
        f"reach {first} on the SIIM-ISIC sample and {second} on {year['images']:,} images of ISIC "
        f"2017, and flag {caught} of 100 melanomas there, {others} of 100 others."
    )


def carries_over() -> str:
    """What results/README.md says of the same, beside the model of before all of it."""
    found = benchmark("left_out")["variants"]
    now = [
        found["without_siim2020_test"]["elsewhere"]["siim2020"],
        found["without_isic2017_train"]["elsewhere"]["isic2017_train"],
    ]
    folder = ROOT / "results" / "ham10000_mobilenet" / "external"
    then = [
        json.loads((folder / name / "report.json").read_text())
        for name in ("siim_mobilenet", "isic2017")
    ]
    points = [one["thresholds"][0] for one in then]
    ranks, ranked = (
        [f"{one['auroc']['value']:.3f}" for one in ones]
        for ones in (now, [one["metrics"] for one in then])
    )
    caught, others, off = (
        [one[name]["value"] for one in now] for name in ("sensitivity", "specificity", "ece")
    )
    moved = [one["ece_at_own_share"] for one in now]
    had, spared = (
        [one[name]["value"] for one in points] for name in ("sensitivity", "specificity")
    )
    return (
        f"rank SIIM's sample at {ranks[0]} and ISIC 2017 at {ranks[1]}, where the five of before "
        f"all of it had {' and '.join(ranked)}; they flag {of_100(caught)} of 100 melanomas where "
        f"those flagged {of_100(had)}, and {of_100(1 - one for one in others)} of 100 others "
        f"instead of {of_100(1 - one for one in spared)}. The probabilities there are off by "
        f"{off[0]:.2f} (SIIM's sample, of which half are melanomas) and {off[1]:.2f} (ISIC 2017); "
        f"moved to the share of melanomas there, as `--prevalence` does, by {moved[0]:.2f} and "
        f"{moved[1]:.2f}"
    )


def of_100(shares: Iterable[float]) -> str:
    """Two of them."""
    return " and ".join(hundredths(share) for share in shares)


def zoomed() -> str:
    """Whose views of a square's middle were measured."""
    found = benchmark("zoom")
    assert found["date"] < benchmark("left_out")["date"], "measured anew: say so"
    return f"of {found['date']} and the model of five epochs"


def minutes() -> str:
    """What the recipe says of its time and scores."""
    found = report()
    each = [fold["seconds"] / 60 for fold in found["folds"]]
    return (
        f"{min(each):.0f} to {max(each):.0f} min a fold on one CPU core"
        f"|melanoma AUROC {found['metrics']['auroc']['value']:.3f}, "
        f"macro AUROC {found['metrics']['macro_auroc']['value']:.3f}"
    )


CLAIMS: dict[str, tuple[str, Callable[[], str]]] = {
    "at home": ("README.md", at_home),
    "on fifths": ("README.md", on_fifths),
    "elsewhere": ("README.md", elsewhere),
    "carries over": ("results/README.md", carries_over),
    "zoomed": ("results/README.md", zoomed),
    "at their share": ("docs/how-to/prevalence.md", at_their_share),
    "calibrated": ("README.md", calibrated),
    "crossfit": ("docs/explanation/thresholds.md", crossfit),
    "quality": ("docs/explanation/thresholds.md", quality),
    "sets elsewhere": ("docs/explanation/thresholds.md", sets_elsewhere),
    "novelty": ("docs/explanation/novelty.md", novelty),
    "minutes": ("configs/dermoscopy_mobilenet.yaml", minutes),
    "bfloat16": ("docs/how-to/serve.md", bfloat16),
}


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_page_says_what_the_results_say(claim: str) -> None:
    page, sentence = CLAIMS[claim]
    text = " ".join((ROOT / page).read_text().split())
    for part in sentence().split("|"):
        assert part in text


@pytest.mark.parametrize("part", ablations.PARTS)
def test_the_ablations_say_what_their_parts_say(part: str) -> None:
    said = inspect.getdoc(ablations.PARTS[part])
    assert f"## {part}\n{said}\n" in (ROOT / "results" / "ablations.md").read_text()


def test_views_are_said_to_be_the_shipped_model_s_only_where_they_are() -> None:
    run = ablations.Run(shipped.RESULTS)
    views = pd.read_csv(shipped.RESULTS / "views.csv").sort_values("image_name")
    own = np.allclose(views["views_4"], run.score("logit"), atol=0.01)
    assert ("the shipped model" in (ablations.views.__doc__ or "")) == own


@pytest.mark.parametrize("name", sorted(p.name for p in BENCHMARKS.glob("*.json")))
def test_what_was_measured_is_told_of(name: str) -> None:
    """results/ keeps what a page cites."""
    assert any(name in page.read_text() for page in PAGES)
