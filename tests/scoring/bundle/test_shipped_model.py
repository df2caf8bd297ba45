"""The model that comes with the clone: whole, small, licensed, and what its results say."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.shipped import NAME, RESULTS, ROOT
from benchmarks.shipped import WEIGHTS as SHIPPED
from melanoma.recipe.overrides import load_recipe
from melanoma.scoring.bundle.bundle import Bundle, load_bundle
from melanoma.scoring.bundle.golden import check_golden
from melanoma.scoring.scorer import Scorer

pytestmark = pytest.mark.slow  # it trains, serves or reads photographs


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle(SHIPPED)


@pytest.fixture(scope="module")
def scorer(bundle: Bundle) -> Scorer:
    return Scorer(bundle)


def test_it_is_whole_and_gives_its_golden_logits(bundle: Bundle, scorer: Scorer) -> None:
    assert [member.fold for member in bundle.members] == [0, 1, 2, 3, 4]
    assert bundle.folds_expected == 5
    assert (bundle.size, bundle.fit, bundle.normalize) == (128, "center", "half")
    assert check_golden(scorer).holds


def test_its_members_are_under_thirty_megabytes(bundle: Bundle) -> None:
    assert sum(member.file.stat().st_size for member in bundle.members) < 30_000_000


def test_it_is_the_run_whose_results_are_published(bundle: Bundle) -> None:
    stated = json.loads((RESULTS / "report.json").read_text())
    assert json.loads((SHIPPED / "report.json").read_text()) == stated
    recipe = load_recipe(ROOT / "configs" / f"{NAME}.yaml")
    assert load_recipe(SHIPPED / "recipe.yaml").identity() == recipe.identity()
    assert list(bundle.report.warnings) == stated["warnings"]


def test_its_license_comes_along_and_no_table_of_patients(bundle: Bundle) -> None:
    manifest = json.loads((SHIPPED / "manifest.json").read_text())
    assert "LICENSE.md" in manifest["sha256"]
    text = (SHIPPED / "LICENSE.md").read_text()
    assert "CC BY-NC 4.0" in text and "10.1038/sdata.2018.161" in text
    (table,) = [name for name in manifest["sha256"] if name.endswith(".csv")]
    # By digests, and with the fold that held each out; the sources' images were in every fold.
    listed = pd.read_csv(SHIPPED / table)
    assert listed["image_name"].str.startswith("hmac:").all()
    assert listed["fold"].notna().sum() == 10_015 and listed["fold"].isna().sum() > 12_000


def test_its_preprocessing_of_a_wide_photograph_is_the_centre_square(scorer: Scorer) -> None:
    wide = np.zeros((450, 600, 3), np.uint8)
    wide[:, 75:525] = 200
    assert scorer.square(wide).min() == 200  # nothing of the sides is seen
    assert scorer.square(np.zeros((144, 144, 3), np.uint8)).shape == (128, 128, 3)


def test_a_held_out_photograph_scores_as_in_the_published_table(
    real_data: Path, scorer: Scorer
) -> None:
    oof = pd.read_csv(RESULTS / "oof.csv.gz", keep_default_na=False)
    photographs = real_data / "ham10000/HAM10000_images"
    for fold, frame in oof.groupby("fold"):
        member = scorer.of_fold(int(str(fold)))
        for row in frame.sample(8, random_state=1).itertuples():
            data = (photographs / f"{row.image_name}.jpg").read_bytes()
            assert member.score(data).by_fold == [pytest.approx(row.prob, abs=0.02)]


@pytest.mark.parametrize("name", ["manifest.json", "members/fold_3.safetensors"])
def test_a_changed_file_is_noticed(name: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(SHIPPED, copy)
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(data)
    with pytest.raises(Exception, match=r"damaged|sha256|differs"):
        load_bundle(copy)
