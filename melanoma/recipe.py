"""The recipe: everything that decides a result, strict and frozen, from one YAML file."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, ValidationError, model_validator

from melanoma.errors import RecipeError
from melanoma.recipe_sections import (
    BINARY_CLASSES,
    READERS,
    RESERVED,
    ClassFolderData,
    ClassName,
    Count,
    CsvFolderData,
    Data,
    Evaluation,
    Folds,
    HamData,
    Head,
    Image,
    Loss,
    Metric,
    Model,
    Optimizer,
    Part,
    PhantomData,
    Sampler,
    Schedule,
    Selection,
    SiimData,
    Stage,
    StageOptimizer,
    StagePlan,
    Training,
)
from melanoma.storage import digest_of

__all__ = [
    "BINARY_CLASSES",
    "RESERVED",
    "ClassFolderData",
    "CsvFolderData",
    "Data",
    "Evaluation",
    "Folds",
    "HamData",
    "Head",
    "Image",
    "PhantomData",
    "Recipe",
    "Sampler",
    "Schedule",
    "Selection",
    "SiimData",
    "StagePlan",
    "differences",
    "load_recipe",
    "make_recipe",
]

# Fields that came later, and the value that means what was before them: left out of the identity
# then, so that earlier runs keep their digests.
_LATER = (
    ("folds", "holdout", "none"),
    ("folds", "validation", 0.2),
    ("data", "rows", "all"),
    ("model", "freeze_backbone", False),
    ("model", "head", None),
    ("optimizer", "backbone_ratio", 1.0),
    ("schedule", "metric", "selection"),
    ("training", "precise_bn", 0),
    ("training", "compile", False),
    ("training", "cuda_graphs", True),
)


class Recipe(Part):
    """One training system, whole. Two recipes with one digest give the same numbers on CPU."""

    name: str
    version: Count = 1
    seed: Annotated[int, Field(ge=0)] = 0
    classes: Annotated[tuple[ClassName, ...], Field(min_length=2)] = BINARY_CLASSES
    melanoma: tuple[ClassName, ...] = ("melanoma",)  # those whose probabilities add up to melanoma
    data: Data
    image: Image = Image()
    folds: Folds
    model: Model = Model()
    loss: Loss = Loss()
    sampler: Sampler = Sampler()
    augment: tuple[dict[str, dict[str, Any]], ...] = ()
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    training: Training = Training()
    stages: tuple[Stage, ...] = ()
    selection: Selection = Selection()
    evaluation: Evaluation = Evaluation()

    @model_validator(mode="after")
    def _stages_can_be_meant(self) -> Recipe:
        total = sum(stage.epochs for stage in self.stages)
        if self.stages and "epochs" not in self.training.model_fields_set:
            # The one place where a recipe is completed; to its readers it is frozen.
            training = self.training.model_copy(update={"epochs": total})
            object.__setattr__(self, "training", training)
        problem = _stage_problem(self, total)
        if problem:
            raise ValueError(problem)
        return self

    @model_validator(mode="after")
    def _classes_can_be_meant(self) -> Recipe:
        for problem in (_class_problem(self), _binary_problem(self), _label_problem(self)):
            if problem:
                raise ValueError(problem)
        return self

    @property
    def is_binary(self) -> bool:
        """Whether one logit says it all: two classes, of which the second alone is melanoma."""
        return len(self.classes) == 2 and self.melanoma == self.classes[1:]

    @property
    def outputs(self) -> int:
        """Logits an image: 1 (sigmoid) when binary, else one a class (softmax)."""
        return 1 if self.is_binary else len(self.classes)

    @property
    def stage_plans(self) -> tuple[StagePlan, ...]:
        """The stages in order; one, of all epochs, where the recipe names none."""
        if not self.stages:
            frozen = self.model.freeze_backbone
            return (StagePlan(self.training.epochs, frozen, self.optimizer, self.schedule),)
        return tuple(
            StagePlan(
                stage.epochs,
                stage.frozen,
                self.optimizer.model_copy(update=stage.optimizer.model_dump(exclude_none=True)),
                stage.schedule or self.schedule,
            )
            for stage in self.stages
        )

    @property
    def selection_metric(self) -> Metric:
        """What an epoch is judged by on its fold's held-out images."""
        return self.selection.metric or ("auroc" if self.is_binary else "macro_auroc")

    def identity(self) -> dict[str, Any]:
        """What decides a fold's numbers: the recipe without what only changes speed or wording."""
        values = self.model_dump(mode="json", exclude={"version"})
        del values["training"]["workers"]
        values["data"].pop("keep_cols", None)
        for section, key, default in _LATER:
            if key in values[section] and values[section][key] == default:
                del values[section][key]
        if not self.stages:
            del values["stages"]
        # Where a file of weights lies decides nothing; which one does.
        values["model"]["pretrained"] = Path(self.model.pretrained).name
        values["evaluation"] = {"views": self.evaluation.views}
        return values

    def digest(self) -> str:
        """sha256 of `identity()`."""
        return digest_of(self.identity())

    def to_yaml(self) -> str:
        """The recipe with every default written out, readable by load_recipe."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


def load_recipe(path: Path, overrides: tuple[str, ...] = (), *, seed: int | None = None) -> Recipe:
    """The recipe in `path`, with `a.b=value` overrides applied in their order.

    Raises RecipeError naming the field, with a suggestion for a misspelled one.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        known = ", ".join(sorted(p.name for p in path.parent.glob("*.yaml"))) or "none"
        raise RecipeError(f"no recipe at {path} (in that folder: {known})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise RecipeError(f"{path} holds no recipe: a mapping of sections was expected")
    values.setdefault("name", path.stem)
    for override in overrides:
        _apply_override(values, override)
    if seed is not None:
        values["seed"] = seed
    return make_recipe(values, origin=str(path))


def make_recipe(values: dict[str, Any], *, origin: str = "recipe") -> Recipe:
    """A Recipe from plain values. Raises RecipeError naming every bad field in one line."""
    try:
        recipe = Recipe.model_validate(values)
    except ValidationError as error:
        found = dict.fromkeys(_explain(e) for e in error.errors())
        raise RecipeError(f"{origin}: {'; '.join(found)}") from None
    switches = _booleans(values)
    if switches:
        raise RecipeError(f"{origin}: {', '.join(switches)}: true or false cannot be meant here")
    return recipe


def differences(ours: dict[str, Any], theirs: dict[str, Any], prefix: str = "") -> list[str]:
    """`field: theirs -> ours` for every leaf that differs between two identities."""
    found: list[str] = []
    for key in sorted(ours.keys() | theirs.keys()):
        mine, other = ours.get(key), theirs.get(key)
        if isinstance(mine, dict) and isinstance(other, dict):
            found += differences(mine, other, f"{prefix}{key}.")
        elif mine != other:
            found.append(f"{prefix}{key}: {other} -> {mine}")
    return found


def _stage_problem(recipe: Recipe, total: int) -> str | None:
    """What is wrong with the stages, or with the one that stands for none."""
    if recipe.stages and recipe.training.epochs != total:
        return (
            f"training.epochs: {recipe.training.epochs}, but the stages have {total} together; "
            "leave it out, or --set stages.0.epochs=N"
        )
    if recipe.stages and recipe.model.freeze_backbone:
        return "model.freeze_backbone: in a recipe with stages each says it for itself (frozen)"
    for number, plan in enumerate(recipe.stage_plans):
        if plan.schedule.warmup_epochs >= plan.epochs:
            if not recipe.stages:
                return "schedule.warmup_epochs must be less than training.epochs"
            return f"stages.{number}.schedule.warmup_epochs must be less than its epochs"
    return None


def _class_problem(recipe: Recipe) -> str | None:
    """What is wrong with `classes` and `melanoma` themselves."""
    classes, known = recipe.classes, ", ".join(recipe.classes)
    for field, names in (("classes", classes), ("melanoma", recipe.melanoma)):
        twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
        if twice:
            return f"{field}: {twice[0]!r} stands twice"
    foreign = [name for name in recipe.melanoma if name not in classes]
    if foreign:
        return (
            f"melanoma: {foreign[0]!r} is not among the classes ({known}); name those that count "
            "as melanoma, or [] for a recipe without a melanoma probability"
        )
    if len(recipe.melanoma) == len(classes):
        return "melanoma: it names every class, so nothing is left to tell melanoma from"
    # oof.csv has the columns logit_NAME, logit_best_NAME and logit_last_NAME.
    shared = [(w, c) for w in ("best", "last") for c in classes if f"{w}_{c}" in classes]
    if shared:
        (which, name) = shared[0]
        return f"classes: {name!r} and '{which}_{name}' would share a column of scores; rename one"
    return None


def _binary_problem(recipe: Recipe) -> str | None:
    """What fits one output alone, or several alone, or needs a melanoma probability."""
    loss, several = recipe.loss, f"with {recipe.outputs} outputs"
    if recipe.is_binary:
        if loss.class_weight != "none":
            return "loss.class_weight: with one output it is loss.positive_weight (ratio or none)"
        return None
    if recipe.data.reader in ("siim", "phantoms"):
        return (
            f"classes: reader {recipe.data.reader} knows two, of which the second alone is "
            "melanoma; readers csv_folder and class_folders take any"
        )
    if loss.positive_weight != "none":
        return f"loss.positive_weight: {several} it is loss.class_weight (balanced, sqrt or none)"
    if recipe.sampler.positive_share != Sampler().positive_share:
        return f"sampler.positive_share: {several}, balanced draws every class equally often"
    if recipe.selection.metric in ("auroc", "auprc") and not recipe.melanoma:
        return (
            f"selection.metric: {recipe.selection.metric} is melanoma against the rest, and "
            "melanoma names no class; use macro_auroc"
        )
    return None


def _label_problem(recipe: Recipe) -> str | None:
    """What is wrong with the way from cells or folders to classes."""
    data = recipe.data
    if not isinstance(data, CsvFolderData | ClassFolderData):
        return None
    positive = data.positive if isinstance(data, CsvFolderData) else None
    if positive is not None and data.labels is not None:
        return "data.positive and data.labels say the same thing twice; keep data.labels"
    if positive is not None and not recipe.is_binary:
        return f"data.positive: it fits two classes; for {len(recipe.classes)} use data.labels"
    for value, name in (data.labels or {}).items():
        if name not in recipe.classes:
            known = ", ".join(recipe.classes)
            return f"data.labels: {value} means {name!r}, which is not among the classes ({known})"
    return None


def _apply_override(values: dict[str, Any], override: str) -> None:
    path, separator, text = override.partition("=")
    if not separator or not path:
        raise RecipeError(f"--set {override}: expected a.b=value")
    *sections, leaf = path.split(".")
    node: Any = values
    for section in sections:
        node = _item(node, section, override) if isinstance(node, list) else _part(node, section)
        if not isinstance(node, dict | list):
            raise RecipeError(f"--set {override}: {section} is a value, not a section")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RecipeError(f"--set {override}: {text!r} is not a YAML value") from error
    if isinstance(node, list):
        _item(node, leaf, override)
        node[int(leaf)] = value
    else:
        node[leaf] = value


def _part(node: dict[str, Any], section: str) -> Any:
    if node.get(section) is None:  # `model:` with nothing below it, too
        node[section] = {}
    return node[section]


def _item(items: list[Any], number: str, override: str) -> Any:
    if not number.isdecimal() or int(number) >= len(items):
        raise RecipeError(
            f"--set {override}: {number} is no item of that list (0 to {len(items) - 1})"
        )
    return items[int(number)]


_SWITCHES = ("freeze_backbone", "frozen", "compile", "cuda_graphs")


def _booleans(values: dict[str, Any], prefix: str = "") -> list[str]:
    """Fields given as true or false that are no switches: pydantic would read YAML's yes as 1."""
    found: list[str] = []
    for key, value in values.items():
        if isinstance(value, bool) and key not in _SWITCHES:
            found.append(f"{prefix}{key}")
        elif isinstance(value, dict):
            found += _booleans(value, f"{prefix}{key}.")
        elif key == "stages" and isinstance(value, list):
            for number, stage in enumerate(value):
                found += _booleans(stage, f"stages.{number}.") if isinstance(stage, dict) else []
    return found


def _explain(error: Any) -> str:
    # pydantic puts the union's tag ("siim") into the path; a person never wrote it there.
    location = [str(p) for p in error["loc"] if p not in READERS]
    field = ".".join(location)
    if error["type"] != "extra_forbidden":
        # Nor the alternatives of a union ("literal['auto']", "constrained-int").
        field = ".".join(p for p in location if re.fullmatch(r"\w+", p))
        message = error["msg"].removeprefix("Value error, ")
        given = f" (got {error['input']!r})" if not isinstance(error["input"], dict) else ""
        return f"{field}: {message}{given}" if field else message
    close = difflib.get_close_matches(location[-1], _known_keys(error["loc"][:-1]), n=1)
    known = ", ".join(_known_keys(error["loc"][:-1]))
    hint = f"did you mean {close[0]}?" if close else f"known: {known}"
    return f"{field}: unknown key; {hint}"


def _known_keys(location: tuple[str | int, ...]) -> list[str]:
    sections: dict[str, type[Part]] = {
        "image": Image,
        "folds": Folds,
        "model": Model,
        "loss": Loss,
        "sampler": Sampler,
        "optimizer": Optimizer,
        "schedule": Schedule,
        "head": Head,
        "training": Training,
        "selection": Selection,
        "evaluation": Evaluation,
        **READERS,
    }
    if location[:1] == ("stages",):
        sections = {"optimizer": StageOptimizer, "schedule": Schedule}
        owner = sections.get(str(location[-1]), Stage)
    else:
        owner = sections.get(str(location[-1]), Recipe) if location else Recipe
    return list(owner.model_fields)
