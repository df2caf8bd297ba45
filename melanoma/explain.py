"""python -m melanoma.explain IMAGES: a picture an image of why a bundle answers as it does."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from melanoma import terminal as t
from melanoma.errors import RecipeError
from melanoma.scoring.backends.backend_catalog import PRECISIONS as PRODUCTS
from melanoma.scoring.backends.backend_catalog import Engine
from melanoma.scoring.explain.explain_options import PRECISIONS, Question, as_precision
from melanoma.scoring.explain.explainer_catalog import EXPLAINERS, find_explainer
from melanoma.scoring.explain.explainer_catalog import explain as explain_pixels
from melanoma.scoring.files.requirements import refuse_given, require_outputs

if TYPE_CHECKING:
    from melanoma.data.images import Photograph
    from melanoma.scoring.explain.explainers import Explanation
    from melanoma.scoring.files.find import ImageFile
    from melanoma.scoring.files.score_files import LocalScorer
    from melanoma.scoring.files.service_client import RemoteScorer
    from melanoma.scoring.scorer import Scorer

_EVALUATIONS = ", ".join(f"{name} {count}" for name, count in PRECISIONS.items())
Precision = Annotated[
    list[str] | None,
    typer.Option(
        "--precision",
        help=f"LIME's evaluations: {_EVALUATIONS}; or the networks' products: float32 or "
        "bfloat16. Repeatable.",
    ),
]
app = t.make_app()


@app.command()
def explain(
    context: typer.Context,
    images: Annotated[list[Path], typer.Argument(help="Image files, folders, or one CSV.")],
    method: Annotated[
        str, typer.Option("--method", help=f"{' or '.join(EXPLAINERS)}.")
    ] = "gradcam",
    precision: Precision = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="PNG for one image, or a folder (default: here).")
    ] = None,
    target: Annotated[
        str | None, typer.Option("--class", help="Class to explain (default: the predicted one).")
    ] = None,
    fold: Annotated[int | None, typer.Option("--fold", help="One member, not all.")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of LIME's superpixels.")] = 0,
    config: t.Config = t.DEFAULT_CONFIG,
    data: Annotated[
        Path | None, typer.Option("--data", help="Folder of the images that a CSV names.")
    ] = None,
    weights: t.Weights = None,
    settings: t.Settings = None,
    device: t.Device = "auto",
    backend: t.Backend = "auto",
    image_col: t.ImageCol = None,
    json: t.AsJson = False,
) -> None:
    """Draw what speaks for and against the answer; a picture an image, and JSON beside it."""
    start = time.monotonic()
    evaluations, products = split_precisions(precision)
    question = Question(method, evaluations, target, seed)
    require_known(question)
    _refuse_foreign(context, method, precision)
    engine = Engine(backend, products)
    # Here, so that neither --help nor predict --url waits for torch.
    from melanoma.devices import resolve_device
    from melanoma.evaluation.number_format import plural
    from melanoma.scoring.bundle.golden import open_scorer
    from melanoma.scoring.files.array_rows import trained_channels
    from melanoma.scoring.files.find import find_images
    from melanoma.scoring.files.spoken import probability_lines
    from melanoma.storage import write_json

    folder = t.bundle_folder(weights, config, settings)
    channels = trained_channels(folder)
    files = find_images(images, data=data, image_col=image_col, channels=channels, say=t.say)
    pictures = name_pictures(files, method, out)
    beside = [picture.with_suffix(".json") for picture in pictures] if json else []
    require_outputs([*pictures, *beside], files, images)
    scorer = open_scorer(folder, device=resolve_device(device), engine=engine)
    bundle = scorer.bundle
    if fold is not None:
        scorer = scorer.of_fold(fold)
    answers = []
    pairs = list(zip(files, pictures, strict=True))
    for file, picture in t.progress(pairs, desc="explain", unit="image"):
        explanation = explain_file(scorer, file, picture, question)
        answer = explanation.prediction
        if json:
            values = {"image_name": file.name, "picture": str(picture), **explanation.as_dict()}
            write_json(picture.with_suffix(".json"), values)
            answers.append(values)
        else:
            named = f"{file.name}: " if len(files) > 1 else ""
            t.answer(f"{named}prediction: {answer.prediction} - {answer.probability:.1%}")
            if answer.verdict is not None:
                t.answer(f"{named}{answer.verdict.text}")
    if json:
        t.answer_json(answers)
    else:
        for line in probability_lines(answer.as_dict()):
            t.answer(line)
    t.say(
        f"{plural(len(files), 'image')} explained in {t.duration(start)} with {bundle.name} "
        f"{bundle.digest[:12]}; wrote {', '.join(map(str, pictures[:5]))}"
        f"{' ...' if len(pictures) > 5 else ''}"
    )


def _refuse_foreign(context: typer.Context, method: str, precision: list[str] | None) -> None:
    """Raises RecipeError for an option that another method reads, as the service does."""
    options = find_explainer(method).options
    evaluations = [text for text in precision or () if text not in PRODUCTS]
    if evaluations and "precision" not in options:
        raise RecipeError(
            f"--precision {evaluations[0]} means nothing with --method {method}; leave one out"
        )
    refuse_given(context, () if "seed" in options else ("seed",), f"with --method {method}")


def split_precisions(texts: list[str] | None) -> tuple[str, str]:
    """LIME's precision and the products', of what --precision named, by default Medium and float32.

    Raises RecipeError where one of the two is named twice.
    """
    products = [text for text in texts or () if text in PRODUCTS]
    evaluations = [str(as_precision(text)) for text in texts or () if text not in PRODUCTS]
    for named in (evaluations, products):
        if len(named) > 1:
            raise RecipeError(f"--precision {' and '.join(named)}: one of them")
    return (*evaluations, "Medium")[0], (*products, "float32")[0]


def require_known(question: Question) -> None:
    """Raises RecipeError for a method or a precision that does not exist."""
    find_explainer(question.method)
    if question.precision not in PRECISIONS:
        *names, last = PRECISIONS
        raise RecipeError(f"--precision {question.precision}: {', '.join(names)} or {last}")


def name_pictures(files: Sequence[ImageFile], method: str, out: Path | None) -> list[Path]:
    """A PNG an image: `out` itself, or NAME_METHOD.png in that folder (in this one by default).

    Raises RecipeError when one PNG is named for several images, or a file that is no PNG.
    """
    if out is None or (not out.suffix and not out.is_file()) or out.is_dir():
        return [(out or Path()) / f"{file.name}_{method}.png" for file in files]
    if out.suffix.lower() != ".png":
        raise RecipeError(f"--out {out}: a file that ends in .png, or a folder")
    if len(files) > 1:
        raise RecipeError(f"--out {out}: one picture for {len(files)} images; name a folder")
    return [out]


def explain_file(scorer: Scorer, file: ImageFile, picture: Path, question: Question) -> Explanation:
    """The explanation of one file's score, its PNG written to `picture`.

    Raises ImageError naming the file when it is no photograph.
    """
    from melanoma.scoring.explain.pictures import draw_explanation
    from melanoma.storage import write_bytes

    pixels, warnings = _decode(file)
    explanation = explain_pixels(scorer, pixels, question, warnings=warnings)
    write_bytes(picture, draw_explanation(explanation, pixels))
    return explanation


def add_pictures(
    scorer: LocalScorer | RemoteScorer,
    to_draw: Sequence[tuple[ImageFile, dict[str, Any], Path]],
    question: Question,
) -> None:
    """Draw LIME for each row that has a score, and name its picture in the row."""
    for file, row, picture in t.progress(to_draw, desc="explain", unit="image"):
        if not row["error"]:
            _draw(scorer, file, picture, question)
        row["picture"] = None if row["error"] else str(picture)


def _draw(
    scorer: LocalScorer | RemoteScorer, file: ImageFile, picture: Path, question: Question
) -> None:
    from melanoma.scoring.files.service_client import RemoteScorer
    from melanoma.storage import write_bytes

    if isinstance(scorer, RemoteScorer):
        drawn = scorer.draw_lime(file.read(), precision=question.precision)
        write_bytes(picture, drawn)
    else:
        explain_file(scorer.scorer, file, picture, question)


def _decode(file: ImageFile) -> Photograph:
    from melanoma.data.images import MAX_FILE_BYTES, decode_image
    from melanoma.errors import ImageError

    try:
        return decode_image(file.read(), limit=MAX_FILE_BYTES)
    except ImageError as error:
        raise ImageError(error.code, f"{file.path}: {error}") from error
    except OSError as error:
        raise ImageError("unreadable_file", f"{file.path}: {error.strerror}") from error


if __name__ == "__main__":
    t.run(app)
