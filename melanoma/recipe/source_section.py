"""Source: rows of another table that train beside the recipe's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, StringConstraints, field_validator

from melanoma.recipe.part import ClassName, Part, Positive
from melanoma.recipe.plain_text import as_text
from melanoma.recipe.sections import BINARY_CLASSES

if TYPE_CHECKING:
    # melanoma.recipe.data_sections says which sections there are, when it has them all.
    from melanoma.recipe.data_section import DataSection as Data

SourceName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]+$", max_length=60)]


class SoftTarget(Part):
    """A teacher's melanoma probability a row: what the network's own is drawn to (distillation)."""

    column: str = "soft_target"
    """Column of the table that has it; a blank cell has none."""
    scale: Literal["probability", "logit"] = "probability"
    """Probability: from 0 to 1. Logit: its log-odds."""
    shift: float = 0.0
    """Added to the log-odds, where the teacher learned at another share of melanomas."""
    weight: Positive = 1.0
    """Weight of this part of the loss, beside 1 of the labels."""
    teacher: str = ""
    """Which model it is from and what that was trained on; report and card say it."""


class Source(Part):
    """Rows of another table, with a reader and classes of their own.

    A row that shows a patient, a lesion or a photograph of a fold's held-out images is left out of
    that fold's training, and counted. None else is held out, unless `held_out` says so.
    """

    name: SourceName
    """Name of the source; its array lies in ARRAYS/sources/NAME."""
    folder: str = ""
    """Folder of its table and images, from the data folder (--data); none: ../NAME."""
    data: Data
    """How its table is read, as the recipe's own section says it, without sources."""
    classes: Annotated[tuple[ClassName, ...], Field(min_length=2)] = BINARY_CLASSES
    """Names of the classes that its reader gives."""
    means: Annotated[dict[ClassName, tuple[ClassName, ...]], Field(default_factory=dict)]
    """What each of its classes means in the recipe: a class, or several, of which it is one. A
    class of the same name means itself."""
    soft_target: SoftTarget | None = None
    """A teacher's melanoma probability a row; none: its labels alone."""
    weight: Positive = 1.0
    """How often each of its rows is drawn an epoch, on average."""
    label_shift: Annotated[float, Field(ge=-10, le=10)] = 0.0
    """Added to the network's log-odds of melanoma before the labels' part of the loss, where
    melanomas are more common in its table than among the recipe's images (less common: negative):
    the log-odds of their share there less those of the share here. The network's own probability
    then stays that of the recipe's share (logit adjustment, Menon et al. 2021)."""
    held_out: bool = False
    """Whether each fold leaves a part of it out, whole patients and photographs that are alike, so
    that evaluate can say what the folds reach on it. The folds choose and are calibrated by the
    recipe's own rows alone."""

    @field_validator("classes", mode="before")
    @classmethod
    def _names_are_text(cls, names: Any) -> Any:
        return as_text(names)

    @field_validator("means", mode="before")
    @classmethod
    def _one_meaning_is_a_list(cls, means: Any) -> Any:
        text = as_text(means)
        if not isinstance(text, dict):
            return text
        return {key: [one] if isinstance(one, str) else one for key, one in text.items()}

    def meaning(self, classes: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Of each of its own classes, those of the recipe that it may be."""
        known = {name: (name,) for name in self.classes if name in classes}
        return {**known, **self.means}

    @property
    def place(self) -> str:
        """Where its table lies, from the data folder."""
        return self.folder or f"../{self.name}"

    @property
    def labeled(self) -> bool:
        """Whether its table has labels."""
        return getattr(self.data, "target_col", "") is not None

    def drop_unsaid(self, values: dict[str, Any]) -> None:
        """Take out of its dumped values what decides no number, and what came later and says what
        was before it."""
        del values["folder"]
        (values["soft_target"] or {}).pop("teacher", None)
        for key in ("held_out", "label_shift"):
            if not values[key]:
                del values[key]

    def section(self) -> Data:
        """The reader's section, which keeps the soft target's column as well."""
        keep_cols = getattr(self.data, "keep_cols", None)
        if self.soft_target is None or keep_cols is None:
            return self.data
        columns = dict.fromkeys((*keep_cols, self.soft_target.column))
        return self.data.model_copy(update={"keep_cols": tuple(columns)})

    def problem(self, classes: Sequence[str], melanoma: Sequence[str]) -> str | None:
        """What is wrong with it beside the recipe's classes, as a sentence."""
        field = f"data.sources.{self.name}"
        binary = len(self.classes) == 2
        return (
            self._reader_problem(field)
            or _prefixed(self.data.problem(self.classes, binary=binary), field)
            or (self._meaning_problem(classes, field) if self.labeled else None)
            or self._soft_problem(melanoma, field)
            or self._shift_problem(melanoma, field)
            or (self._held_out_problem(classes, melanoma, field) if self.held_out else None)
        )

    def _reader_problem(self, field: str) -> str | None:
        if self.data.sources:
            return f"{field}.data.sources: a source has none of its own"
        if self.data.phantoms:
            return f"{field}.data.reader: drawings are no source"
        return None

    def _meaning_problem(self, classes: Sequence[str], field: str) -> str | None:
        known, meaning = ", ".join(classes), self.meaning(classes)
        for name in self.classes:
            if name not in meaning:
                return f"{field}.means: it does not say what {name!r} is of the classes ({known})"
        for name, meant in meaning.items():
            if name not in self.classes:
                return f"{field}.means: {name!r} is none of its classes ({', '.join(self.classes)})"
            foreign = [one for one in meant if one not in classes]
            if foreign or not meant:
                what = repr(foreign[0]) if foreign else "nothing"
                return f"{field}.means: {name} is {what}, which is not among the classes ({known})"
            if set(meant) == set(classes):
                return f"{field}.means: {name} may be any class, which says nothing"
        return None

    def _soft_problem(self, melanoma: Sequence[str], field: str) -> str | None:
        if self.soft_target is None:
            if self.labeled:
                return None
            return f"{field}: without labels it needs a soft_target"
        if not melanoma:
            return f"{field}.soft_target: it is of melanoma, and melanoma names no class"
        if not hasattr(self.data, "keep_cols"):
            reader = self.data.reader
            return f"{field}.soft_target: reader {reader} reads no such column; csv_folder does"
        return None

    def _shift_problem(self, melanoma: Sequence[str], field: str) -> str | None:
        if self.label_shift and not (self.labeled and melanoma):
            return f"{field}.label_shift: it is of labels that say melanoma or not; here are none"
        return None

    def _held_out_problem(
        self, classes: Sequence[str], melanoma: Sequence[str], field: str
    ) -> str | None:
        """What is reported of it is melanoma against the rest, so its labels must tell that."""
        if not self.labeled:
            return f"{field}.held_out: without labels nothing could be measured"
        if not melanoma:
            return f"{field}.held_out: what is measured is of melanoma, and melanoma names no class"
        for name, meant in self.meaning(classes).items():
            if len({one in melanoma for one in meant}) > 1:
                return f"{field}.held_out: {name!r} may be melanoma or not, which measures nothing"
        return None


def _prefixed(problem: str | None, field: str) -> str | None:
    """The sentence of a data section, with the source's field in front."""
    return None if problem is None else f"{field}.{problem}"


def sources_problem(
    sources: Sequence[Source], classes: Sequence[str], melanoma: Sequence[str]
) -> str | None:
    """What is wrong with the sources beside each other and the classes, as a sentence."""
    names = [source.name for source in sources]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        return f"data.sources: {twice[0]!r} stands twice"
    problems = (source.problem(classes, melanoma) for source in sources)
    return next((problem for problem in problems if problem), None)
