"""What every door shares: options, bars, and one clear line with an exit code on failure."""

from __future__ import annotations

import io
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from melanoma.errors import MelanomaError, plain_line
from melanoma.recipe.find_recipe import find_recipe
from melanoma.recipe.overrides import load_recipe
from melanoma.recipe.recipe import Recipe
from melanoma.scoring.backends.backend_catalog import list_backends
from melanoma.storage import DISK_ERRORS, storage_error
from melanoma.workflows.asked import Asked, ask_recipe
from melanoma.workflows.places import ARRAYS, weights_folder
from melanoma.workflows.watch import Watch

Config = Annotated[
    Path, typer.Option("--config", help="The recipe: a file, or a name such as demo.")
]
DataDir = Annotated[Path, typer.Option("--data", help="Folder of the table and the images.")]
Arrays = Annotated[Path, typer.Option("--arrays", help="Folder of the prepared arrays.")]
FoldFile = Annotated[
    Path | None, typer.Option("--folds", help="Fold file (default folds/NAME.csv).")
]
Weights = Annotated[
    Path | None, typer.Option("--weights", help="Run folder (default weights/RECIPE).")
]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="Override a field, a.b=value; repeatable.")
]
Seed = Annotated[int | None, typer.Option("--seed", min=0, help="Override the recipe's seed.")]
Pretrained = Annotated[
    str | None,
    typer.Option("--pretrained", help="none, imagenet, or a file; {fold} in its path."),
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
Backend = Annotated[
    str,
    typer.Option("--backend", envvar="MELANOMA_BACKEND", help=f"{list_backends()}."),
]
On = Annotated[str | None, typer.Option("--on", help="ray, or ray=ADDRESS: on a Ray cluster.")]
PerTask = Annotated[
    str | None, typer.Option("--per-task", help="With --on: what a task needs, cpus=N,gpus=N.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Results as JSON on stdout.")]
ImageCol = Annotated[str | None, typer.Option("--image-col", help="csv_folder: image column.")]
TargetCol = Annotated[str | None, typer.Option("--target-col", help="csv_folder: target column.")]
GroupCol = Annotated[
    list[str] | None,
    typer.Option("--group-col", help="csv_folder: what stays in one fold; repeatable."),
]

# typer publishes this class under no name of its own, only those that inherit from it.
_UsageError: Any = typer.BadParameter.__mro__[1]

DEFAULT_CONFIG = Path("siim_seresnext50")
DEFAULT_DATA = Path("data")
DEFAULT_ARRAYS = ARRAYS


def read_recipe_options(
    config: Path,
    settings: list[str] | None,
    seed: int | None,
    *,
    pretrained: str | None = None,
    image_col: str | None = None,
    target_col: str | None = None,
    group_col: list[str] | None = None,
) -> Recipe:
    """The recipe with the command line's overrides. Raises RecipeError."""
    columns = {"image_col": image_col, "target_col": target_col, "group_col": group_col}
    overrides = _overrides(settings, pretrained, columns)
    return load_recipe(find_recipe(config), tuple(overrides), seed=seed)


def read_asked(
    config: Path,
    settings: list[str] | None,
    seed: int | None,
    *,
    data: Path,
    arrays: Path,
    folds: Path | None = None,
    pretrained: str | None = None,
    **columns: str | list[str] | None,
) -> Asked:
    """The recipe with the command line's overrides, and with those of the data section that an
    earlier command on the same array or fold file was given. Raises RecipeError."""
    return ask_recipe(
        find_recipe(config),
        _overrides(settings, pretrained, columns),
        seed=seed,
        data=data,
        arrays=arrays,
        folds=folds,
        say=say,
    )


def _overrides(
    settings: list[str] | None,
    pretrained: str | None,
    columns: Mapping[str, str | list[str] | None],
) -> list[str]:
    overrides = list(settings or [])
    if pretrained is not None:
        overrides.append(f"model.pretrained={json.dumps(pretrained)}")
    named = {}
    for key, value in columns.items():
        if value is not None and value != []:
            named[key] = value[0] if isinstance(value, list) and len(value) == 1 else value
    overrides += [f"data.{key}={json.dumps(value)}" for key, value in named.items()]
    if named:
        # The column options mean a plain table, whatever the recipe's data came as.
        overrides.insert(0, "data.reader=csv_folder")
    return overrides


def bundle_folder(weights: Path | None, config: Path, settings: list[str] | None) -> Path:
    """--weights, or that of the recipe: a bundle says itself what it is, and needs no config."""
    return weights or weights_folder(None, read_recipe_options(config, settings, None))


def say(text: str) -> None:
    """A line of progress, on stderr."""
    print(text, file=sys.stderr, flush=True)


def link(address: str) -> str:
    """The address; on a terminal that takes colors, one that can be clicked."""
    if not sys.stderr.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return address
    return f"\x1b]8;;{address}\x1b\\{address}\x1b]8;;\x1b\\"


def answer(text: str) -> None:
    """A line of result, on stdout."""
    print(text, flush=True)


def answer_json(value: Any) -> None:
    """A result for machines, on stdout."""
    answer(json.dumps(value, indent=2, allow_nan=False))


def progress(items: Iterable[Any], **options: Any) -> Iterable[Any]:
    """`items` with a bar on stderr, when that is a terminal."""
    from tqdm.auto import tqdm

    return tqdm(items, disable=not sys.stderr.isatty(), leave=False, colour=None, **options)


def epoch_bar(total: int, done: int, what: str) -> Callable[[], None]:
    """A function that moves a bar by one step; the bar goes when it is full."""
    from tqdm.auto import tqdm

    bar = tqdm(
        total=total,
        initial=done,
        desc=what,
        unit="batch",
        leave=False,
        disable=not sys.stderr.isatty(),
    )

    def advance() -> None:
        bar.update()
        if bar.n >= total:
            bar.close()

    return advance


def watch(*, epoch: Callable[[dict[str, Any]], None] = lambda _: None) -> Watch:
    """What a workflow says and shows, on stderr."""
    return Watch(say=say, progress=progress, bar=epoch_bar, epoch=epoch)


def duration(since: float) -> str:
    """The time since a time.monotonic() value, for a person."""
    return spoken_seconds(time.monotonic() - since)


def spoken_seconds(seconds: float) -> str:
    """So many seconds, or minutes, or hours, for a person."""
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def table_lines(
    rows: Sequence[Sequence[str]],
    *,
    least: Mapping[int, int],
    paths: Sequence[int] = (),
    width: int = 100,
) -> list[str]:
    """The rows as lines of aligned columns, at most `width` characters wide where that can be.

    Where they do not fit, the columns of `least` are cut, the widest first, to no less than the
    width given there; those in `paths` at the front, since paths differ at their ends.
    """
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    while sum(widths) + 2 * (len(widths) - 1) > width:
        free = [column for column in least if widths[column] > least[column]]
        if not free:
            break
        widths[max(free, key=lambda column: widths[column])] -= 1
    lines = []
    for row in rows:
        cells = [
            _cut(cell, size, front=column in paths).ljust(size)
            for column, (cell, size) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def _cut(text: str, width: int, *, front: bool) -> str:
    if len(text) <= width:
        return text
    dots = "\N{HORIZONTAL ELLIPSIS}"
    return dots + text[len(text) - width + 1 :] if front else text[: width - 1] + dots


def run(app: typer.Typer) -> None:
    """Run a door: failures become one line on stderr and their exit code."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    _print_any_letter()
    try:
        # Not app(): it ends the process by itself, in other words and with other codes.
        command = typer.main.get_command(app)
        with command.make_context(_program(), sys.argv[1:]) as context:
            command.invoke(context)
    except typer.Exit as end:
        sys.exit(end.exit_code)
    except _UsageError as error:
        _fail(f"{error.format_message()} (see {_program()} --help)", 2)
    except MelanomaError as error:
        _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        _fail("interrupted", 130)
    except BrokenPipeError:
        # `| head` closed the pipe: nothing is wrong, and nobody reads on.
        sys.exit(0)
    except MemoryError:
        _fail("out of memory; try a smaller --set training.batch_size", 1)
    except OSError as error:
        _fail(_os_error_line(error), 6)
    except Exception as error:
        if type(error).__name__ == "OutOfMemoryError":
            _fail(
                "the GPU's memory is full; try --set training.batch_size=16 "
                "--set training.accumulate=4",
                1,
            )
        traceback.print_exc()
        _fail(f"this is a bug in melanoma: {type(error).__name__}: {error}", 1)


def _print_any_letter() -> None:
    """A command must not end as a bug because a terminal lacks a letter of a file's name."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def make_app() -> typer.Typer:
    """A Typer app with plain help and plain errors."""
    return typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


def _os_error_line(error: OSError) -> str:
    if error.errno in DISK_ERRORS:
        # Where the error names no file, the folder that it was started in is the best guess.
        return str(storage_error(error, Path(error.filename or ".")))
    return f"{error.filename or 'disk'}: {error.strerror or error}"


def _program() -> str:
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if spec is None or spec.name == "melanoma.__main__":
        return Path(sys.argv[0]).name
    return f"python -m {spec.name}"


def _fail(message: str, code: int) -> None:
    print(f"error: {plain_line(message)}", file=sys.stderr, flush=True)
    sys.exit(code)
