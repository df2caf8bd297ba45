"""predict --on ray: from a command line's images to a folder of Parquet files."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from melanoma.cluster.ray_scoring import Scored, Scoring, score_on_ray
from melanoma.cluster.ray_session import import_ray, parse_on, ray_cluster
from melanoma.cluster.shards import NamedFile, read_parquet_files
from melanoma.errors import RecipeError
from melanoma.scoring.files.find import find_images
from melanoma.scoring.files.score_rows import require_plain_names
from melanoma.workflows.watch import SILENT, Watch

__all__ = ["Scored", "Scoring", "predict_on_ray"]


def predict_on_ray(
    on: str,
    paths: Sequence[Path],
    scoring: Scoring,
    out: Path | None,
    per_task: str | None = None,
    data: Path | None = None,
    image_col: str | None = None,
    *,
    watch: Watch = SILENT,
) -> Scored:
    """The scores of folders, CSVs, Parquet tables and files in OUT; what is there stays.

    Raises RecipeError for what cannot be meant, DataError for images that are not there, and as
    score_on_ray does.
    """
    address = parse_on(on)
    import_ray()
    if out is None:
        raise RecipeError("--on ray writes a folder of Parquet files: name it with --out")
    files = find_named(paths, data=data, image_col=image_col, watch=watch)
    # A Path has lost a slash of s3://.
    target = re.sub(r"^([a-z][a-z0-9+.]+):/(?=[^/])", r"\1://", str(out))
    if "://" not in target:
        target = str(out.resolve())
    with ray_cluster(address) as ray:
        return score_on_ray(ray, files, scoring, target, per_task=per_task, watch=watch)


def find_named(
    paths: Sequence[Path], *, data: Path | None, image_col: str | None, watch: Watch
) -> list[NamedFile]:
    """The images that are meant, each once, with addresses that do not depend on a folder."""
    files: list[NamedFile] = []
    for path in paths:
        if path.suffix.lower() == ".npy":
            raise RecipeError(f"{path}: --on ray scores photographs; leave --on out for an array")
        if path.suffix.lower() == ".parquet":
            files += read_parquet_files(path, column=image_col or "image_name", data=data)
            continue
        for image in find_images([path], data=data, image_col=image_col, say=watch.say):
            files.append(NamedFile(image.name, str(image.path.resolve())))
    files = list(dict.fromkeys(files))
    names = [file.name for file in files]
    if len(set(names)) != len(names):
        twice = Counter(names).most_common(1)[0][0]
        raise RecipeError(f"two images are named {twice}; name the folders apart, or each by path")
    require_plain_names(names)
    return files
