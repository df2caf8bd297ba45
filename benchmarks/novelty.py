"""The shipped bundle's novelty score: fitted on HAM10000's held-out images, and measured.

    python -m benchmarks.novelty [--pictures FOLDER] [--cache FILE.npz]

Against pictures of other things (benchmarks/novelty_pictures.py; and of a folder, in the forms that
benchmarks/novelty_forms.py makes: here the 1,000 of the repository
EliSchwartz/imagenet-sample-images), smartphone photographs, and the two sources that the members
held out as well, each image by the one that never saw it; beside it the usual scores of the same
members (pytorch-ood's detectors by their formulas). Writes results/benchmarks/novelty.json and
weights/NAME/novelty.safetensors, which benchmarks/reseal_shipped.py then seals. `--cache` keeps
the embeddings, which take the most time.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import logsumexp
from sklearn.metrics import roc_auc_score

from benchmarks.facts import run_facts
from benchmarks.novelty_forms import HALVES, pictures_in_forms
from benchmarks.novelty_pictures import pictures_by_kind
from benchmarks.shipped import OOF, WEIGHTS, fold_of_source
from melanoma.data.images import Pixels, decode_image
from melanoma.evaluation.report.schema_points import NoveltyLine, NoveltySummary
from melanoma.scoring.bundle.bundle import load_bundle
from melanoma.scoring.bundle.novelty_file import NOVELTY, save_novelty
from melanoma.scoring.held_out import embed_held_out
from melanoma.scoring.novelty import HeldOutNovelty, fit_novelty, upper_quantile
from melanoma.scoring.scorer import Scorer
from melanoma.scoring.square_statistics import square_statistics
from melanoma.storage import digest_of, sha256_of, write_json
from melanoma.workflows.fit_novelty import summarize_novelty

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"
OUT = ROOT / "results" / "benchmarks" / "novelty.json"
Sets = dict[str, np.ndarray]
Label = tuple[str, int | None]
EXTERNAL = 400  # images of a class, at most
KINDS = ("other", "phone", "isic", "siim", *HALVES)


def main() -> None:
    """Measure, and write both files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--pictures", type=Path)
    asked = parser.parse_args()
    cache = asked.cache
    table = pd.read_csv(OOF)
    scorer = Scorer(load_bundle(WEIGHTS))
    members = digest_of(sorted(sha256_of(path) for path in (WEIGHTS / "members").iterdir()))
    if cache is not None and cache.is_file():
        sets: Sets = dict(np.load(cache))
        if sets.get("members") != members:
            raise SystemExit(f"{cache} holds the embeddings of other members than {WEIGHTS.name}'s")
    else:
        sets = gather(scorer, table, asked.pictures)
        if cache is not None:
            np.savez(cache, members=np.array(members), **sets)  # type: ignore[arg-type]
    folds = table["fold"].to_numpy(np.int64)
    groups, labels = table["group"].to_numpy(), table["label"].to_numpy()
    found = fit_novelty(sets["held.E"], sets["held.S"], folds, groups, seed=1)
    assert found is not None
    summary = summarize(found, sets, labels, groups)
    save_novelty(found.novelty, WEIGHTS / NOVELTY)
    halves = {"embeddings alone": 0, "plain statistics alone": 1}
    measured = {
        "summary": summary.model_dump(mode="json"),
        "others_rejected": _rejected(found, sets),
        "rivals": {
            **_rivals(sets, folds, groups),
            **{name: _half(found, sets, groups, folds, half) for name, half in halves.items()},
        },
        "pictures": {half: _by_form(found, sets, half) for half in HALVES if f"{half}.E" in sets},
        "run": run_facts("novelty"),
    }
    write_json(OUT, measured)
    print(measured["others_rejected"], measured["rivals"])
    for line in (*summary.by_class, *summary.others, *summary.elsewhere):
        print(line.model_dump())


def gather(scorer: Scorer, table: pd.DataFrame, pictures: Path | None) -> Sets:
    """NAME.E embeddings, NAME.L logits and NAME.S statistics of each set, NAME.label their kinds:
    of the held-out images by their own member, of others by all. NAME.F are the folds of images
    that only one member may judge."""
    files = {path.stem: path for path in (DATA / "ham10000").rglob("*.jpg")}
    squares = _squares(scorer, [files[name] for name in table["image_name"]])
    alone = dict(zip(scorer.members.folds, scorer.members.alone(), strict=True))
    held = embed_held_out(
        alone.__getitem__, _Rows(squares), np.arange(len(table)), table["fold"].to_numpy(np.int64)
    )
    found: Sets = {"held.E": held, "held.S": square_statistics(squares)}
    found["held.L"] = table.filter(regex="^logit_(?!best|last)").to_numpy(np.float32)
    for name, (others, label) in chain(_others(scorer), _pictures(scorer, pictures)):
        outputs = [
            scorer.members.outputs(others[i : i + 32], views=1) for i in range(0, len(others), 32)
        ]
        found[f"{name}.E"] = np.concatenate([one.embeddings for one in outputs]).astype(np.float16)
        found[f"{name}.L"] = np.concatenate([one.logits for one in outputs]).astype(np.float32)
        found[f"{name}.S"] = square_statistics(others)
        found[f"{name}.label"] = np.array([kind for kind, _ in label])
        if label[0][1] is not None:
            found[f"{name}.F"] = np.array([fold for _, fold in label])
    return found


def _others(scorer: Scorer) -> Iterator[tuple[str, tuple[np.ndarray, list[Label]]]]:
    """Squares and labels: the kind of picture, and the fold that held it out or None."""
    kinds = pictures_by_kind()
    pictures = [scorer.square(pixels) for made in kinds.values() for pixels in made]
    label: list[Label] = [(kind, None) for kind, made in kinds.items() for _ in made]
    yield "other", (np.stack(pictures), label)
    phone = sorted((DATA / "smartphone_pad" / "images").glob("*"))
    yield "phone", (_squares(scorer, phone), [("smartphone photographs", None)] * len(phone))
    for name, title, folder, key, target in (
        ("isic", "ISIC 2017", "isic2017_train", "image_id", "melanoma"),
        ("siim", "SIIM 2020", "siim2020", "image_name", "target"),
    ):
        path = next(
            p for p in (DATA / folder).glob("*.csv") if p.name in ("metadata.csv", "train.csv")
        )
        rows = pd.read_csv(path).sample(frac=1, random_state=0).groupby(target).head(EXTERNAL)
        files = {path.stem: path for path in (DATA / folder).rglob("*.jpg")}
        folds = fold_of_source(folder)
        rows = rows[rows[key].isin(folds)]
        label = [
            (f"{title}, {'melanomas' if one else 'others'}", folds[image])
            for image, one in zip(rows[key], rows[target], strict=True)
        ]
        yield name, (_squares(scorer, [files[one] for one in rows[key]]), label)


def _pictures(
    scorer: Scorer, folder: Path | None
) -> Iterator[tuple[str, tuple[np.ndarray, list[Label]]]]:
    """Of each half of a folder's pictures, in their forms."""
    if folder is None:
        return
    made = [(scorer.square(one), form, half) for one, form, half in pictures_in_forms(folder)]
    for half in HALVES:
        own = [(square, (form, None)) for square, form, its in made if its == half]
        if not own:  # a small folder may have none of a half
            continue
        yield half, (np.stack([square for square, _ in own]), [form for _, form in own])


class _Rows:
    def __init__(self, squares: np.ndarray) -> None:
        self._squares = squares

    def rows(self, rows: np.ndarray) -> np.ndarray:
        return self._squares[rows]


def _squares(scorer: Scorer, files: list[Path]) -> np.ndarray:
    with ThreadPoolExecutor(2) as pool:

        def read(path: Path) -> Pixels:
            return scorer.square(decode_image(path.read_bytes()).pixels)

        return np.stack(list(pool.map(read, files)))


def summarize(
    found: HeldOutNovelty, sets: Sets, labels: np.ndarray, groups: np.ndarray
) -> NoveltySummary:
    """The report's part, with the pictures of other things and the other sources."""
    lines: dict[str, list[NoveltyLine]] = {}
    for name in KINDS:
        if f"{name}.E" not in sets:
            lines[name] = []
            continue
        scores = _served(found, sets, name)
        lines[name] = [
            NoveltyLine(
                name=str(label),
                images=int((sets[f"{name}.label"] == label).sum()),
                novel=int(
                    (scores[sets[f"{name}.label"] == label] >= found.novelty.threshold).sum()
                ),
                auroc=_auroc(found.scores, scores[sets[f"{name}.label"] == label]),
            )
            for label in dict.fromkeys(sets[f"{name}.label"].tolist())
        ]
    summary = summarize_novelty(found, labels, groups)
    once = [
        line.model_copy(update={"name": f"photographs looked at once, {line.name}"})
        for line in lines[HALVES[1]]
    ]
    others = tuple(lines["other"] + lines["phone"] + once)
    return summary.model_copy(
        update={"others": others, "elsewhere": tuple(lines["isic"] + lines["siim"])}
    )


def _by_form(found: HeldOutNovelty, sets: Sets, half: str) -> dict[str, list[int]]:
    """Of each form: how many are novel, and how many there are."""
    novel, forms = _served(found, sets, half) >= found.novelty.threshold, sets[f"{half}.label"]
    return {
        str(form): [int(novel[forms == form].sum()), int((forms == form).sum())]
        for form in np.unique(forms)
    }


def _served(found: HeldOutNovelty, sets: Sets, name: str) -> np.ndarray:
    """The score as it is served; of images that a member held out, by that member alone."""
    novelty, embeddings, plain = found.novelty, sets[f"{name}.E"], sets[f"{name}.S"]
    if f"{name}.F" not in sets:
        return novelty.scores(embeddings, novelty.folds, plain)
    scores = np.zeros(len(embeddings))
    for number, fold in enumerate(novelty.folds):
        here = sets[f"{name}.F"] == fold
        scores[here] = novelty.scores(embeddings[here][:, [number]], [fold], plain[here])
    return scores


def _auroc(inside: np.ndarray, outside: np.ndarray) -> float:
    truth = np.r_[np.zeros(len(inside)), np.ones(len(outside))]
    return float(roc_auc_score(truth, np.r_[inside, outside]))


def _rejected(found: HeldOutNovelty, sets: Sets) -> float:
    """Of the drawn and package pictures but phantoms, which the rivals are measured on as well."""
    counted = sets["other.label"] != "phantoms"
    novel = _served(found, sets, "other")[counted] >= found.novelty.threshold
    return float(novel.mean())


def _rivals(sets: Sets, folds: np.ndarray, groups: np.ndarray) -> dict[str, Any]:
    """What needs no fit, standardised by member: share rejected at 1 % of lesions, and AUROC."""
    rivals: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "energy (Liu 2020)": lambda logits: -logsumexp(logits, axis=-1),
        "maximum logit (Hendrycks 2022)": lambda logits: -logits.max(axis=-1),
        "maximum softmax (Hendrycks 2017)": lambda logits: (
            -np.exp(logits.max(axis=-1) - logsumexp(logits, axis=-1))
        ),
    }
    made = {}
    for name, score in rivals.items():
        inside, outside = score(sets["held.L"]), score(sets["other.L"])
        for number, fold in enumerate(np.unique(folds)):
            here = folds == fold
            mean, spread = inside[here].mean(), inside[here].std()
            inside[here] = (inside[here] - mean) / spread
            outside[:, number] = (outside[:, number] - mean) / spread
        made[name] = _compared(inside, outside.mean(axis=1), sets, groups)
    return made


def _half(
    found: HeldOutNovelty, sets: Sets, groups: np.ndarray, folds: np.ndarray, half: int
) -> dict[str, float]:
    """One half of the score alone. The held-out ones are scored by what was fitted on them too."""
    novelty = found.novelty
    if half:
        one, other = (novelty.plain_scores(sets[f"{name}.S"]) for name in ("held", "other"))
        return _compared(one, other, sets, groups)
    inside = np.zeros(len(folds))
    for fold in novelty.folds:
        inside[folds == fold] = novelty.member_scores(sets["held.E"][folds == fold], fold)
    outside = np.mean(
        [novelty.member_scores(sets["other.E"][:, n], f) for n, f in enumerate(novelty.folds)],
        axis=0,
    )
    return _compared(inside, outside, sets, groups)


def _compared(
    inside: np.ndarray, outside: np.ndarray, sets: Sets, groups: np.ndarray
) -> dict[str, float]:
    counted = outside[sets["other.label"] != "phantoms"]
    threshold = upper_quantile(inside, groups, 0.01)
    return {
        "rejected": round(float((counted >= threshold).mean()), 4),
        "auroc": round(_auroc(inside, counted), 4),
    }


if __name__ == "__main__":
    main()
