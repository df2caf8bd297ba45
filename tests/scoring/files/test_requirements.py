"""What is refused before a file is scored: values that cannot be meant, and outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from melanoma.errors import RecipeError, StorageError
from melanoma.scoring.files.find import ImageFile
from melanoma.scoring.files.requirements import refuse_given, require_meant, require_outputs

NOTHING: dict[str, Any] = {
    "views": None,
    "threshold": None,
    "prevalence": None,
    "channels": None,
    "patient_col": None,
}
MEANT: dict[str, tuple[Any, ...]] = {
    "views": (1, 2, 4, 8),
    "threshold": (0.0, 0.5, 1.0),
    "prevalence": (0.000001, 0.001, 0.999, 0.999999),
    "channels": ("rgb", "bgr"),
    "patient_col": ("patient",),
}
NOT_MEANT: dict[str, tuple[Any, ...]] = {
    "views": (0, 3, 16, -1),
    "threshold": (-0.01, 1.01, 50.0, float("nan")),
    "prevalence": (0.0, 5e-324, 1e-7, 1 - 1e-9, 1.0, -0.5, 2.0, float("nan"), float("inf")),
    "channels": ("RGB", "", "gray"),
}


@pytest.mark.parametrize("name", MEANT)
def test_what_can_be_meant_passes(name: str) -> None:
    for value in (None, *MEANT[name]):
        require_meant(**{**NOTHING, name: value})


@pytest.mark.parametrize("name", NOT_MEANT)
def test_what_cannot_be_meant_is_refused_by_its_option(name: str) -> None:
    option = {"channels": "--array-channels"}.get(name, f"--{name}")
    for value in NOT_MEANT[name]:
        with pytest.raises(RecipeError, match=f"^{option} "):
            require_meant(**{**NOTHING, name: value})


def test_a_patient_s_lesions_are_compared_at_the_bundle_s_own_prevalence() -> None:
    with pytest.raises(RecipeError, match="no --prevalence"):
        require_meant(**{**NOTHING, "patient_col": "patient", "prevalence": 0.1})


def command(names: tuple[str, ...]) -> typer.Typer:
    app = typer.Typer()

    @app.command()
    def run(
        context: typer.Context,
        token: Annotated[str, typer.Option("--token", "-t", envvar="A_TOKEN")] = "",
        workers: Annotated[int, typer.Option("--workers")] = 2,
    ) -> None:
        refuse_given(context, names, "without --url")

    return app


@pytest.mark.parametrize(
    ("given", "names", "refused"),
    [
        ([], ("token", "workers"), None),
        (["--workers", "2"], ("token",), None),
        (["--workers", "2"], ("token", "workers"), "--workers"),  # its default, but said
        (["-t", "x"], ("token",), "--token"),
        (["--token", "x"], (), None),
    ],
)
def test_an_option_that_was_given_and_means_nothing_is_refused(
    given: list[str], names: tuple[str, ...], refused: str | None
) -> None:
    found = CliRunner().invoke(command(names), given, env={"A_TOKEN": "of the surroundings"})
    if refused is None:
        assert found.exit_code == 0, found.exception
    else:
        assert isinstance(found.exception, RecipeError)
        assert str(found.exception) == f"{refused} means nothing without --url; leave one out"


@pytest.fixture
def image(tmp_path: Path) -> ImageFile:
    (tmp_path / "a.jpg").write_bytes(b"one")
    return ImageFile("a", tmp_path / "a.jpg")


def test_an_output_that_would_replace_what_is_read_is_refused_however_it_is_written(
    image: ImageFile, tmp_path: Path
) -> None:
    given = tmp_path / "names.csv"
    given.write_text("a\n")
    (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)
    for output in (image.path, tmp_path / "link/a.jpg", tmp_path / "x/../names.csv"):
        with pytest.raises(RecipeError, match="is read here; name another file to write"):
            require_outputs([tmp_path / "fine.csv", output], [image], [None, given])
    assert image.path.read_bytes() == b"one"
    assert given.read_text() == "a\n"


def test_one_path_takes_one_output(image: ImageFile, tmp_path: Path) -> None:
    twice = [tmp_path / "s.csv", tmp_path / "x" / ".." / "s.csv"]
    with pytest.raises(RecipeError, match="would be written twice"):
        require_outputs(twice, [image], [])


def test_outputs_that_can_be_written_leave_nothing_behind(image: ImageFile, tmp_path: Path) -> None:
    """Not even their folder: the command may yet be refused for another reason."""
    before = list(tmp_path.iterdir())
    require_outputs([tmp_path / "new/folder/out.csv", tmp_path / "b.csv"], [image], [None])
    assert list(tmp_path.iterdir()) == before


def test_an_output_that_cannot_be_written_is_refused_before_the_work(
    image: ImageFile, tmp_path: Path
) -> None:
    (tmp_path / "dangling").symlink_to(tmp_path / "absent")
    nameless = tmp_path / "a" / ("b" * 300)
    for folder in (image.path, image.path / "sub", tmp_path / "dangling", nameless):
        with pytest.raises(StorageError):
            require_outputs([folder / "out.csv"], [image], [])
    for folder in (tmp_path, Path(), Path("/")):
        with pytest.raises(StorageError, match="is a folder, not a file"):
            require_outputs([folder], [image], [])
