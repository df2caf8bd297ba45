"""A finished run's folds with a share of the weights that they went on from (WiSE-FT).

    python -m benchmarks.start_average --weights A --out B --start 'DIR/fold_{fold}.safetensors' \\
        --share 0.3 --arrays ARRAYS --folds FOLDS [--fold N]

Every tensor of the fold that is written into B is (1 - share) times the trained one and share times
the starting one, the head and BatchNorm's statistics with them (Wortsman et al. 2022,
arXiv 2109.01903). The starting weights are a classifier of the same classes which never saw the
fold's held-out images, or the fold would not have been trained. `pretrained` in B's records, and in
the report made of them, says that it was done.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from benchmarks.rescored_fold import FinishedFold, finish_again, open_fold
from melanoma.data.folds import load_folds
from melanoma.models.pretrained import read_weights
from melanoma.training.run.run_folder import fold_folder


def average(
    trained: dict[str, torch.Tensor], start: dict[str, torch.Tensor], share: float
) -> dict[str, torch.Tensor]:
    """The weighted mean of two networks of one kind; counters are the trained one's."""
    assert trained.keys() == start.keys(), "two networks of one kind"
    return {
        name: (1 - share) * value + share * start[name].to(value.dtype)
        if value.is_floating_point()
        else value
        for name, value in trained.items()
    }


def average_fold(one: FinishedFold, target: Path, *, start: str, share: float) -> None:
    """Write the averaged fold into `target`; `start` has {fold} in it."""
    begun = read_weights(Path(start.replace("{fold}", str(one.run.fold))))
    one.classifier.load_state_dict(average(one.classifier.state_dict(), begun, share))
    told = f"{one.run.facts.pretrained}; {share:.0%} of them averaged in after training"
    change = finish_again(one, target, one.recipe, pretrained=told)
    print(json.dumps({"fold": one.run.fold, "mean_change_of_a_logit": round(change, 4)}))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, required=True, help="a finished run")
    parser.add_argument("--out", type=Path, required=True, help="where the averaged run goes")
    parser.add_argument("--start", required=True, help="the file that each fold began with")
    parser.add_argument("--share", type=float, required=True, help="of the starting weights")
    parser.add_argument("--arrays", type=Path, required=True, help="what it was trained on")
    parser.add_argument("--folds", type=Path, required=True, help="its fold file")
    parser.add_argument("--fold", type=int, action="append", help="repeatable (default all)")
    given = parser.parse_args()
    for fold in given.fold or load_folds(given.folds).folds:
        one = open_fold(fold_folder(given.weights, fold), arrays=given.arrays, folds=given.folds)
        target = fold_folder(given.out, fold)
        average_fold(one, target, start=given.start, share=given.share)


if __name__ == "__main__":
    main()
