"""python -m melanoma.audit: what stands on both sides of a split, or of two data sets."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from melanoma import terminal as t
from melanoma.errors import FoldError, RecipeError

if TYPE_CHECKING:
    from melanoma.data.arrays import ImageArray
    from melanoma.data.duplicates.contact_sheet import Tile
    from melanoma.data.duplicates.search import SharedImage
    from melanoma.workflows.audit import Audited

app = t.make_app()
_PICTURED = 36  # pairs on a contact sheet


@app.command()
def audit(
    config: t.Config = t.DEFAULT_CONFIG,
    data: t.DataDir = t.DEFAULT_DATA,
    arrays: Annotated[
        Path | None,
        typer.Option(
            "--arrays", help="Prepared arrays, made when absent (default arrays/, or none)."
        ),
    ] = None,
    folds: t.FoldFile = None,
    external: Annotated[
        Path | None,
        typer.Option("--external", help="Recipe, file or name, of a second set to keep apart."),
    ] = None,
    external_data: Annotated[
        Path | None, typer.Option("--external-data", help="Folder of the second set.")
    ] = None,
    external_arrays: Annotated[
        Path | None, typer.Option("--external-arrays", help="Arrays of the second set.")
    ] = None,
    allow_leak: Annotated[
        bool, typer.Option("--allow-leak", help="Exit 0 whatever is found.")
    ] = False,
    pictures: Annotated[
        Path | None,
        typer.Option("--pictures", help="Contact sheet of the pairs: a folder, or a .png."),
    ] = None,
    settings: t.Settings = None,
    seed: t.Seed = None,
    image_col: t.ImageCol = None,
    target_col: t.TargetCol = None,
    group_col: t.GroupCol = None,
    json: t.AsJson = False,
) -> None:
    """Find patients, lesions and photographs that are in two folds, or in two sets."""
    from melanoma.workflows.audit import audit_fold_file, audit_two_sets, look_at

    start, watch = time.monotonic(), t.watch()
    recipe = t.read_asked(
        *(config, settings, seed),
        data=data,
        arrays=arrays or t.DEFAULT_ARRAYS,
        folds=folds,
        image_col=image_col,
        target_col=target_col,
        group_col=group_col,
    ).recipe
    if (external is None) != (external_data is None):
        raise RecipeError("--external and --external-data belong together")
    # Before the first set is decoded: a wrong name is known at once.
    other = t.read_recipe_options(external, None, None) if external is not None else None
    with tempfile.TemporaryDirectory(prefix="melanoma-audit-") as scratch:
        first = look_at(recipe, data, arrays, Path(scratch, "first"), watch=watch)
        if other is not None and external_data is not None:
            # Squared as ours are: pixels can only be compared when they were made in one way.
            other = other.model_copy(update={"image": recipe.image})
            second = look_at(
                other, external_data, external_arrays, Path(scratch, "second"), watch=watch
            )
            audited = audit_two_sets(recipe, first, second, watch=watch)
        else:
            audited = audit_fold_file(recipe, first, folds, watch=watch)
        if pictures is not None:
            _save_pictures(audited, pictures)
    _answer(audited, start=start, as_json=json, allowed=allow_leak)
    if audited.audit.leaks and not allow_leak:
        kinds = len(audited.audit.findings)
        raise FoldError(
            f"{kinds} kind{'s' if kinds > 1 else ''} of leak, listed above; "
            + ("leave them out of one set" if external else "rebuild with python -m melanoma.split")
            + ", or pass --allow-leak"
        )


def _answer(audited: Audited, *, start: float, as_json: bool, allowed: bool) -> None:
    identical = [pair for pair in audited.pairs if pair.relation == "identical"]
    near = [pair for pair in audited.pairs if pair.relation != "identical"]
    if as_json:
        facts: dict[str, Any] = audited.audit.as_facts() | {
            "allowed": audited.audit.leaks and allowed
        }
        lists = {
            "shared_patients": audited.audit.patients,
            "shared_lesions": audited.audit.lesions,
            "shared_images": audited.audit.images,
            "leaking_pairs": [*(audited.audit.identical or ()), *(audited.audit.near or ())],
        }
        listed = {
            key: None if values is None else [_plain(one) for one in values]
            for key, values in lists.items()
        }
        sources = {"sources": list(audited.sources)} if audited.sources else {}
        t.answer_json(
            {**facts, **listed, **sources, "pairs": [pair._asdict() for pair in audited.pairs]}
        )
        return
    for line in audited.audit.lines():
        t.answer(line if line.startswith(" ") else f"LEAK: {line}")
    if not audited.audit.leaks and audited.sides:
        t.answer(audited.audit.clean)
    if audited.audit.near is None:
        t.answer("photographs: not compared (no images)")
    else:
        t.answer(f"identical images: {_some(identical)}")
        t.answer(f"near-duplicates: {_some(near)}")
    for line in audited.sources:
        t.answer(line)
    t.answer(f"looked at {audited.looked_at}, {t.duration(start)}")


def _plain(one: Any) -> Any:
    return one if isinstance(one, str) else one._asdict()


def _some(pairs: list[SharedImage]) -> str:
    shown = "; ".join(map(str, pairs[:5])) + ("; ..." if len(pairs) > 5 else "")
    return f"{len(pairs)} pairs" + (f" ({shown})" if pairs else "")


def _save_pictures(audited: Audited, pictures: Path) -> None:
    """The pairs side by side, three pairs a row, leaks first."""
    from melanoma.data.duplicates.contact_sheet import save_contact_sheet

    path = pictures if pictures.suffix.lower() == ".png" else pictures / "duplicates.png"
    ours, theirs = audited.array, audited.other
    if ours is None or theirs is None or not audited.pairs:
        t.say("no pictures: there are no pairs")
        return
    firsts = audited.firsts or (ours,) * len(audited.pairs)
    pairs = list(zip(audited.pairs, firsts, strict=True))
    tiles = [_pair_tiles(pair, first, theirs) for pair, first in pairs[:_PICTURED]]
    rows = [
        [tile for pair in tiles[at : at + 3] for tile in pair] for at in range(0, len(tiles), 3)
    ]
    shown = (
        len(tiles) if len(tiles) == len(audited.pairs) else f"{len(tiles)} of {len(audited.pairs)}"
    )
    save_contact_sheet(path, rows, title=f"One photograph twice: {shown} pairs")
    t.say(f"wrote {path}")


def _pair_tiles(pair: SharedImage, array: ImageArray, other: ImageArray) -> tuple[Tile, Tile]:
    from melanoma.data.duplicates.contact_sheet import Tile

    (first,) = array.rows([array.row_of[pair.first]])
    (second,) = other.rows([other.row_of[pair.second]])
    caption = f"similarity {pair.similarity:.2f}"
    return (
        Tile(first, (pair.first, *pair.relation.split(", "))),
        Tile(second, (pair.second, caption)),
    )


if __name__ == "__main__":
    t.run(app)
