"""python -m melanoma.check: everything that prepare would refuse, without writing an array."""

from __future__ import annotations

from melanoma import terminal as t
from melanoma.errors import DataError

app = t.make_app()


@app.command()
def check(
    config: t.Config = t.DEFAULT_CONFIG,
    data: t.DataDir = t.DEFAULT_DATA,
    settings: t.Settings = None,
    image_col: t.ImageCol = None,
    target_col: t.TargetCol = None,
    group_col: t.GroupCol = None,
) -> None:
    """Read the table and decode every image; report all problems at once."""
    from melanoma.data.array_making import survey_images
    from melanoma.data.lesions import read_lesions

    recipe = t.read_recipe_options(
        config, settings, None, image_col=image_col, target_col=target_col, group_col=group_col
    )
    table = read_lesions(data, recipe.data, classes=recipe.classes)
    survey = survey_images(table, recipe.image, progress=t.progress)
    names = ("others", "melanomas") if recipe.is_binary else recipe.classes
    counts = [f"{int((table.frame['target'] == n).sum()):,} {name}" for n, name in enumerate(names)]
    t.answer(
        f"{len(table):,} rows: {', '.join(counts[::-1] if recipe.is_binary else counts)}, "
        f"{table.frame['patient_id'].nunique():,} patients, "
        f"{len(survey.duplicates)} pairs of identical images"
    )
    for warning in table.warnings:
        t.answer(f"warning: {warning}")
    if survey.problems:
        raise DataError(f"{data}: {'; '.join(survey.problems)}")
    t.answer("nothing to mend")


if __name__ == "__main__":
    t.run(app)
