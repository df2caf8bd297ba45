"""Pictures of an evaluated set: its largest errors, and what a run gets wrong."""

from __future__ import annotations

from pathlib import Path

from melanoma.data.arrays import load_array
from melanoma.data.duplicates.contact_sheet import Tile, save_contact_sheet
from melanoma.data.name_digests import with_known_names
from melanoma.evaluation.compare.evaluated_run import load_evaluated
from melanoma.evaluation.compare.mistake_figures import save_mistakes
from melanoma.evaluation.report.build import Report
from melanoma.training.run.run_folder import read_recipe
from melanoma.workflows.watch import SILENT, Watch


def save_pictures(report: Report, folder: Path, arrays: Path, *, watch: Watch = SILENT) -> None:
    """Write FOLDER/figures/largest_errors.png: photographs, so they are not to be published.

    Of a run's own images also confusion.png, wrong_confidence.png, mistakes_confident.png and
    mistakes_unsure.png. Says so, and writes nothing, where no array in `arrays` holds the images.
    """
    home = folder if (folder / "recipe.yaml").is_file() else folder.parents[1]
    array = load_array(arrays, read_recipe(home).image)
    mistakes = report.content.largest_errors
    known = () if array is None else array.names
    names = with_known_names([mistake.image_name for mistake in mistakes], known)
    if array is None or any(name not in array.row_of for name in names):
        watch.say(f"no pictures: {arrays} has no array of these images (--arrays DIR)")
        return
    tiles = [
        Tile(
            array.rows([array.row_of[name]])[0],
            (name, f"is {m.label}", f"called {m.predicted}"),
        )
        for name, m in zip(names, mistakes, strict=True)
    ]
    figures, written = folder / "figures", []
    if home == folder:
        written = save_mistakes(load_evaluated(folder), read_recipe(home).classes, array, figures)
    path = figures / "largest_errors.png"
    rows = [tiles[start : start + 6] for start in range(0, len(tiles), 6)]
    save_contact_sheet(path, rows, title=f"{report.content.recipe}: the largest errors")
    others = "".join(f", {path.name}" for path in written)
    watch.say(f"wrote {path}{others}; the photographs' licenses hold for them")
