"""The recipe: everything that decides a result, strict and frozen, from one YAML file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, PrivateAttr, field_validator, model_validator

from melanoma.recipe.data_section import DataSection
from melanoma.recipe.data_sections import Data
from melanoma.recipe.plain_text import as_text
from melanoma.recipe.rules import (
    binary_problem,
    class_problem,
    embedding_problem,
    option_problem,
    risk_problem,
    source_problem,
    stage_problem,
)
from melanoma.recipe.sections import (
    BINARY_CLASSES,
    ClassName,
    Count,
    Evaluation,
    Folds,
    Image,
    ImageType,
    Loss,
    Metric,
    Model,
    Optimizer,
    Part,
    Risk,
    Sampler,
    Schedule,
    Selection,
    Stage,
    StagePlan,
    Training,
)
from melanoma.recipe.study import Study
from melanoma.storage import digest_of

# Fields that came later, and the value that means what was before them: left out of the identity
# then, so that earlier runs keep their digests.
_LATER: tuple[tuple[str, str, Any], ...] = (
    ("folds", "holdout", "none"),
    ("folds", "validation", 0.2),
    ("folds", "own_validation", "split"),
    ("data", "rows", "all"),
    ("folds", "stratify", "label"),
    ("loss", "parameters", {}),
    ("loss", "beta", 0.999),
    ("model", "freeze_backbone", False),
    ("model", "head", None),
    ("optimizer", "backbone_ratio", 1.0),
    ("optimizer", "sam_rho", 0.0),
    ("schedule", "metric", "selection"),
    ("schedule", "threshold_mode", "abs"),
    ("training", "precise_bn", 0),
    ("training", "bfloat16_weights", False),
    ("training", "compile", False),
    ("training", "cuda_graphs", True),
    ("training", "checkpointing", False),
    ("training", "augment_on", "processor"),
    ("training", "mix", None),
    ("model", "pooling", "mean"),
    ("model", "embeddings", None),
    ("model", "dropout_samples", 1),
    ("model", "frozen_stages", 0),
    ("loss", "auxiliary", None),
    ("loss", "teacher", None),
)


class Recipe(Part):
    """One training system, whole. Two recipes with one digest give the same numbers on CPU."""

    name: str
    """Name of the recipe, of its run folder and of its bundle."""
    version: Count = 1
    """Number that a changed recipe is told from its earlier self by."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the weights, the order of the images and the augmentation."""
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = ()
    """Seeds of several networks a fold, whose logits are averaged; none: `seed` alone."""
    classes: Annotated[tuple[ClassName, ...], Field(min_length=2)] = BINARY_CLASSES
    """Names of the classes, in the order of the outputs."""
    melanoma: tuple[ClassName, ...] = ("melanoma",)
    """Those of the classes whose probabilities add up to melanoma."""
    risk: dict[ClassName, Risk] = Field(default_factory=dict)
    """How grave each class is: class -> malignant, premalignant, benign, or none (no lesion). With
    it an answer that is not flagged for melanoma still tells of other cancers."""
    image_type: ImageType = "any"
    """What the photographs are taken with, and so what the model is for: dermatoscope, clinical (a
    phone or camera), or any."""
    study: Study = Study()
    """What report and card say of where the images are from; it decides no number."""
    data: Data
    """Where the images and their labels come from."""
    image: Image = Image()
    """The square that the network sees."""
    folds: Folds
    """Which images are held out when."""
    model: Model = Model()
    """The network and the weights that it starts from."""
    loss: Loss = Loss()
    """What training makes small."""
    sampler: Sampler = Sampler()
    """How often an image of each class is drawn."""
    augment: tuple[dict[str, dict[str, Any]], ...] = ()
    """Augmentations in their order, a name and its arguments each."""
    optimizer: Optimizer = Optimizer()
    """How a step is made."""
    schedule: Schedule = Schedule()
    """How the learning rate changes over the epochs."""
    training: Training = Training()
    """Epochs, batches, precision."""
    stages: tuple[Stage, ...] = ()
    """Stages with an optimizer of their own, where the recipe trains in stages."""
    selection: Selection = Selection()
    """Which epoch's weights are kept."""
    evaluation: Evaluation = Evaluation()
    """Views, operating points, calibration and intervals of the report."""

    @field_validator("classes", "melanoma", "risk", mode="before")
    @classmethod
    def _names_are_text(cls, names: Any) -> Any:
        return as_text(names)

    # The files that steps called own name, as they were read with the recipe, by name.
    _own_files: dict[str, bytes] = PrivateAttr(default_factory=dict)

    @property
    def own_files(self) -> Mapping[str, bytes]:
        """The recipe's own Python files; none of a recipe that no file was read for."""
        return self._own_files

    def with_seed(self, seed: int) -> Recipe:
        """The recipe of one of the seeds, alone."""
        return self.model_copy(update={"seed": seed, "seeds": ()})

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(seeds) == 1:
            raise ValueError("two or more; one is the field seed")
        if len(set(seeds)) < len(seeds):
            raise ValueError("a seed stands twice")
        return seeds

    def with_own_files(self, files: Mapping[str, bytes]) -> Recipe:
        """The same recipe, with these files in hand."""
        held = self.model_copy()
        held._own_files = dict(files)
        return held

    @model_validator(mode="after")
    def _stages_can_be_meant(self) -> Recipe:
        total = sum(stage.epochs for stage in self.stages)
        if self.stages and "epochs" not in self.training.model_fields_set:
            # The one place where a recipe is completed; to its readers it is frozen.
            training = self.training.model_copy(update={"epochs": total})
            object.__setattr__(self, "training", training)
        problem = stage_problem(self, total)
        if problem:
            raise ValueError(problem)
        return self

    @model_validator(mode="after")
    def _classes_can_be_meant(self) -> Recipe:
        problem = (
            class_problem(self)
            or risk_problem(self)
            or self.data.problem(self.classes, binary=self.is_binary)
            or binary_problem(self)
            or source_problem(self)
            or option_problem(self)
            or embedding_problem(self)
        )
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
    def melanoma_columns(self) -> list[int]:
        """The numbers of the classes that count as melanoma."""
        return [self.classes.index(name) for name in self.melanoma]

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
                stage.size,
            )
            for stage in self.stages
        )

    @property
    def is_frozen(self) -> bool:
        """Whether no stage lets the backbone learn, or there is none."""
        return self.model.embeddings is not None or all(plan.frozen for plan in self.stage_plans)

    @property
    def selection_metric(self) -> Metric:
        """What an epoch is judged by on its fold's held-out images."""
        return self.selection.metric or ("auroc" if self.is_binary else "macro_auroc")

    def identity(self) -> dict[str, Any]:
        """What decides a fold's numbers: the recipe without what only changes speed or wording."""
        values = self.model_dump(mode="json", exclude={"version", "risk", "image_type", "study"})
        del values["training"]["workers"]
        _drop_later(values["data"], self.data)
        for value, source in zip(values["data"].get("sources", ()), self.data.sources, strict=True):
            source.drop_unsaid(value)
            _drop_later(value["data"], source.data)
        for section, key, default in _LATER:
            if key in values[section] and values[section][key] == default:
                del values[section][key]
        for stage in values["stages"]:
            if stage["size"] is None:
                del stage["size"]
        for key in ("stages", "seeds"):
            if not values[key]:
                del values[key]
        # Where a file of weights lies decides nothing; which one does.
        values["model"]["pretrained"] = Path(self.model.pretrained).name
        if self.model.embeddings is not None:
            values["model"]["embeddings"] = Path(self.model.embeddings).name
        if self.loss.teacher is not None:
            del values["loss"]["teacher"]["folder"]  # run.json has the digest of what lies there
        values["evaluation"] = {"views": self.evaluation.views}
        return values

    def without_places(self) -> Recipe:
        """The same recipe, by its digest too, without the folders of the machine it trained on."""
        model, loss, data = self.model, self.loss, self.data
        if loss.teacher is not None:
            folder = Path(loss.teacher.folder).name
            teacher = loss.teacher.model_copy(update={"folder": folder})
            loss = loss.model_copy(update={"teacher": teacher})
        model = model.model_copy(update={"pretrained": Path(model.pretrained).name})
        sources = tuple(
            one.model_copy(update={"folder": ""}) if Path(one.folder).is_absolute() else one
            for one in data.sources
        )
        data = data.model_copy(update={"sources": sources})
        return self.model_copy(update={"model": model, "loss": loss, "data": data})

    def digest(self) -> str:
        """sha256 of `identity()`."""
        return digest_of(self.identity())

    def to_yaml(self) -> str:
        """The recipe with every default written out, readable by load_recipe."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


def _drop_later(values: dict[str, Any], section: DataSection) -> None:
    """Take out of a data section's values what decides nothing: that which came later, unused."""
    values.pop("keep_cols", None)
    for key, default in (*section.later, ("sources", [])):
        if key in values and values[key] == default:
            del values[key]
