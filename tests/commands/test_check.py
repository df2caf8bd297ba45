"""check: what counts as melanoma is said, and no hint decides it."""

from __future__ import annotations

from pathlib import Path

from PIL import Image
from refusals import Door, require_refusal

from melanoma.data.phantoms.dataset import make_phantoms


def test_case_01_values_are_listed_and_a_bare_true_is_text(call_door: Door, tmp_path: Path) -> None:
    """DDI's column `malignant` holds False and True."""
    folder = tmp_path / "ddi"
    make_phantoms(folder, images=20, patients=5, size=32, seed=0)
    names = sorted(path.stem for path in folder.rglob("*.jpg"))[:3]
    rows = zip(names, ("False", "False", "True"), strict=True)
    (folder / "train.csv").unlink()
    (folder / "test.csv").unlink(missing_ok=True)
    (folder / "t.csv").write_text(",file,malignant\n" + "".join(f"7,{n},{m}\n" for n, m in rows))
    columns = ("--data", folder, "--image-col", "file", "--target-col", "malignant")
    options = (*columns, "--set", "image.size=32", "--set", "data.table=t.csv")
    options = (*options, "--warn-only", "unlabeled")
    said = require_refusal(call_door("check", *options), 3, "'False' (2), 'True' (1)")
    assert "[VALUE, ...]" in said
    answer = call_door("check", *options, "--set", "data.positive=[True]")
    assert answer.code == 0, answer.err
    assert "3 rows: 1 melanomas, 2 others" in answer.out
    assert "melanomas are the rows whose malignant is 'True'" in answer.out


def test_a_part_of_its_own_that_lacks_a_class_is_a_fault_as_split_has_it(
    call_door: Door, tmp_path: Path
) -> None:
    shades = iter(range(40, 240, 10))
    for part, classes in {"train": ("nevus", "melanoma"), "valid": ("nevus",)}.items():
        for name in classes:
            (tmp_path / part / name).mkdir(parents=True)
            for number in range(2):
                path = tmp_path / part / name / f"{part}{name}{number}.png"
                Image.new("RGB", (40, 40), (next(shades), 90, 80)).save(path)
    recipe = tmp_path / "two.yaml"
    recipe.write_text(
        "name: two\nclasses: [nevus, melanoma]\nmelanoma: [melanoma]\n"
        "data: {reader: class_folders}\nimage: {size: 32}\nfolds: {name: two, k: 2}\n"
    )
    options = ("--config", recipe, "--data", tmp_path)
    said = "its own valid part has no image of melanoma"
    require_refusal(call_door("split", *options, "--out", tmp_path / "f.csv"), 3, said)
    require_refusal(call_door("check", *options), 3, said)
    pooled = call_door("check", *options, "--set", "folds.own_validation=pooled")
    assert pooled.code == 0, pooled.err
