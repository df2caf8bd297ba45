"""The recipe: everything that decides a result, strict and frozen, from one YAML file."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from melanoma.errors import RecipeError
from melanoma.storage import digest_of

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
Count = Annotated[int, Field(ge=1)]
# Cells of a table are stripped too, so a name with a space at its end would fit none.
ClassName = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Metric = Literal["auroc", "macro_auroc", "balanced_accuracy", "macro_f1", "loss"]

BINARY_CLASSES = ("benign", "melanoma")


# Columns of the fold file and of oof.csv that mean something of their own.
RESERVED = (
    *("image_name", "patient_id", "lesion_id", "age", "sex", "site", "source", "target", "label"),
    *("melanoma", "width", "height", "bytes", "group", "fold", "logit", "logit_best", "logit_last"),
    *("prob", "prob_crossfit", "part"),
)


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
)


class Part(BaseModel):
    """A section of the recipe: unknown keys refused, nothing changed after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class SiimData(Part):
    """Kaggle's layout: train.csv with jpeg/train/NAME.jpg, or x_train_S.npy in csv order."""

    reader: Literal["siim"]
    array_channels: Literal["rgb", "bgr"] = "rgb"  # of an adopted array; ours are always RGB


def _with_text_keys(labels: Any) -> Any:
    """YAML reads 0: benign as a number, and cells and names of folders are text."""
    if not isinstance(labels, dict):
        return labels
    return {str(key) if type(key) is int else key: name for key, name in labels.items()}


class CsvFolderData(Part):
    """Any table (one CSV) beside any folder of images.

    `keep_cols` are further columns that go into the fold file as they are, so that the report can
    be broken down by them.
    """

    reader: Literal["csv_folder"]
    table: str | None = None  # file name of the CSV; the only one in the folder when absent
    image_col: str = "image_name"
    target_col: str = "target"
    group_col: str | None = None
    group_is: Literal["patient", "lesion"] = "patient"
    positive: tuple[str, ...] | None = None  # values of target_col that are melanoma, if not 0/1
    labels: dict[str, ClassName] | None = None  # values of target_col -> classes
    age_col: str | None = None
    sex_col: str | None = None
    site_col: str | None = None
    keep_cols: tuple[str, ...] = ()

    @field_validator("keep_cols")
    @classmethod
    def _names_are_free(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        taken = sorted(set(names) & set(RESERVED))
        if taken:
            raise ValueError(
                f"{', '.join(taken)}: names that the fold file has for its own columns"
            )
        if len(set(names)) < len(names):
            raise ValueError("a column is named twice")
        return names

    @field_validator("labels", mode="before")
    @classmethod
    def _numbers_are_text(cls, labels: Any) -> Any:
        return _with_text_keys(labels)


class HamData(Part):
    """HAM10000 as published: HAM10000_metadata.csv, images in folders HAM10000_images*.

    The classes are its seven diagnoses, or benign and melanoma (melanoma against the rest). Where
    HAM10000_images_train and HAM10000_images_test are both there, they are its parts.
    """

    reader: Literal["ham10000"]
    rows: Literal["all", "with_image"] = "all"  # all: a row without its image is a fault


class ClassFolderData(Part):
    """A folder a class, at the top or in train/ and test/."""

    reader: Literal["class_folders"]
    labels: dict[str, ClassName] | None = None  # folders -> classes, where their names differ
    group_pattern: str | None = None  # regular expression with one group, for file names
    group_is: Literal["patient", "lesion"] = "patient"

    @field_validator("group_pattern")
    @classmethod
    def _has_one_group(cls, pattern: str | None) -> str | None:
        try:
            groups = 1 if pattern is None else re.compile(pattern).groups
        except re.error as error:
            raise ValueError(f"no regular expression ({error})") from error
        if groups != 1:
            raise ValueError(r"one group in brackets, such as ^(\d+)_, was expected")
        return pattern

    @field_validator("labels", mode="before")
    @classmethod
    def _numbers_are_text(cls, labels: Any) -> Any:
        return _with_text_keys(labels)


class PhantomData(Part):
    """Procedural images in SIIM's layout, drawn into the data folder when it is empty."""

    reader: Literal["phantoms"]
    images: Annotated[int, Field(ge=20)] = 440
    patients: Annotated[int, Field(ge=5)] = 72
    size: Annotated[int, Field(ge=32, le=512)] = 96
    seed: Annotated[int, Field(ge=0)] = 0


Data = Annotated[
    SiimData | CsvFolderData | HamData | ClassFolderData | PhantomData,
    Field(discriminator="reader"),
]


_READERS: dict[str, type[Part]] = {
    "siim": SiimData,
    "csv_folder": CsvFolderData,
    "ham10000": HamData,
    "class_folders": ClassFolderData,
    "phantoms": PhantomData,
}


class Image(Part):
    size: Annotated[int, Field(ge=32, le=1024)] = 128
    fit: Literal["squash", "center"] = "squash"  # how a rectangle becomes a square
    normalize: Literal["imagenet", "half"] = "imagenet"


class Folds(Part):
    """Which images are held out when; what is decided here is frozen in the fold file.

    `holdout` is a test part beside the folds, scored once by evaluate and never read by training:
    none, a share of the images, or folders (the data's own test folder). `k: 1` is a single split
    into training and validation.
    """

    name: str
    k: Annotated[int, Field(ge=1, le=20)] = 5
    validation: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.2  # k: 1 only, share held out
    holdout: Literal["none", "folders"] | Annotated[float, Field(gt=0.0, lt=1.0)] = "none"
    group_by: Literal["patient", "none"] = "patient"
    seed: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _validation_has_a_use(self) -> Folds:
        if self.k > 1 and self.validation != 0.2:
            raise ValueError(f"validation is for k: 1; of {self.k} folds each is held out once")
        return self


class Head(Part):
    """Hidden layers between the pooled features and the logits."""

    hidden: Annotated[tuple[Count, ...], Field(min_length=1)]  # their widths
    activation: Literal["relu", "gelu", "silu"] = "relu"
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0  # after each activation


class Model(Part):
    backbone: str = "se_resnext50_32x4d"
    pretrained: str = "none"  # none, imagenet, or a file
    freeze_backbone: StrictBool = False  # in every epoch; stages say it one by one
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0  # on the pooled features
    head: Head | None = None  # none: one linear layer


class Loss(Part):
    name: str = "bce"
    positive_weight: Literal["ratio", "none"] | Positive = "none"  # one output only
    class_weight: Literal["none", "balanced", "sqrt"] = "none"  # several outputs only
    cap: Positive | None = None  # of either weight
    label_smoothing: Annotated[float, Field(ge=0.0, lt=0.5)] = 0.0


class Sampler(Part):
    name: Literal["shuffle", "balanced"] = "shuffle"
    positive_share: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.5  # balanced, one output only


class Optimizer(Part):
    name: Literal["adam", "adamw", "sgd"] = "adam"
    rate: Positive = 1e-4
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.0
    backbone_ratio: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0  # backbone's rate / head's
    depth_decay: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0  # rate ratio from depth to depth
    clip_norm: Positive | None = None


class Schedule(Part):
    name: Literal["plateau", "cosine", "one_cycle", "step", "constant"] = "plateau"
    warmup_epochs: Annotated[float, Field(ge=0.0)] = 0.0
    factor: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.1  # plateau and step
    patience: Annotated[int, Field(ge=0)] = 3  # plateau
    threshold: Annotated[float, Field(ge=0.0)] = 1e-3  # plateau, absolute
    metric: Literal["selection", "loss"] = "selection"  # plateau: what it watches, held out
    every: Count = 4  # step, epochs
    final_share: Share = 0.01  # cosine and one_cycle: last rate / highest rate


class StageOptimizer(Part):
    """What a stage says otherwise than the recipe's optimizer section."""

    rate: Positive | None = None
    weight_decay: Annotated[float, Field(ge=0.0)] | None = None
    backbone_ratio: Annotated[float, Field(gt=0.0, le=1.0)] | None = None
    depth_decay: Annotated[float, Field(gt=0.0, le=1.0)] | None = None


class Stage(Part):
    """Some epochs of a recipe that trains in stages, each with an optimizer of its own.

    `frozen` leaves the backbone as it is: its parameters and its BatchNorm statistics. A schedule
    stands in the place of the recipe's and runs over the stage's epochs.
    """

    epochs: Count
    frozen: StrictBool = False
    optimizer: StageOptimizer = StageOptimizer()
    schedule: Schedule | None = None


@dataclass(frozen=True)
class StagePlan:
    """A stage with everything that it takes from the recipe written out."""

    epochs: int
    frozen: bool
    optimizer: Optimizer
    schedule: Schedule


class Training(Part):
    epochs: Count = 25  # with stages: their sum, which need not be said
    batch_size: Count = 64
    accumulate: Count = 1
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    ema_decay: Annotated[float, Field(gt=0.0, lt=1.0)] | None = None
    workers: Annotated[int, Field(ge=0)] | Literal["auto"] = "auto"


class Selection(Part):
    keep: Literal["best", "last"] = "best"  # the epoch whose weights enter the bundle
    metric: Metric | None = None  # what picks it; none: auroc, with several outputs macro_auroc
    patience: Count | None = None  # early stopping; none: all epochs
    min_delta: Annotated[float, Field(ge=0.0)] = 1e-4


class Evaluation(Part):
    views: Literal[1, 2, 4, 8] = 1  # dihedral views averaged as logits
    sensitivity: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.95  # of the threshold
    sensitivities: tuple[Share, ...] = (0.8, 0.9)  # of further operating points
    specificities: tuple[Share, ...] = (0.8, 0.9)
    calibration: Literal["scale", "temperature"] = "scale"
    resamples: Annotated[int, Field(ge=100)] = 2000


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
    if recipe.selection.metric == "auroc" and not recipe.melanoma:
        return (
            "selection.metric: auroc is melanoma against the rest, and melanoma names no class; "
            "use macro_auroc"
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


_SWITCHES = ("freeze_backbone", "frozen")


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
    location = [str(p) for p in error["loc"] if p not in _READERS]
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
        **_READERS,
    }
    if location[:1] == ("stages",):
        sections = {"optimizer": StageOptimizer, "schedule": Schedule}
        owner = sections.get(str(location[-1]), Stage)
    else:
        owner = sections.get(str(location[-1]), Recipe) if location else Recipe
    return list(owner.model_fields)
