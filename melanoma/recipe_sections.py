"""The sections of a recipe, each strict and frozen; melanoma.recipe puts them together."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StringConstraints,
    field_validator,
    model_validator,
)

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
Count = Annotated[int, Field(ge=1)]
# Cells of a table are stripped too, so a name with a space at its end would fit none.
ClassName = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Metric = Literal[
    "auroc", "auprc", "macro_auroc", "accuracy", "balanced_accuracy", "macro_f1", "loss"
]

BINARY_CLASSES = ("benign", "melanoma")


# Columns of the fold file and of oof.csv that mean something of their own.
RESERVED = (
    *("image_name", "patient_id", "lesion_id", "age", "sex", "site", "source", "target", "label"),
    *("melanoma", "width", "height", "bytes", "group", "fold", "logit", "logit_best", "logit_last"),
    *("prob", "prob_crossfit", "part"),
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


READERS: dict[str, type[Part]] = {
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
    precise_bn: Annotated[int, Field(ge=0)] = 0  # training images that renew BatchNorm's statistics
    workers: Annotated[int, Field(ge=0)] | Literal["auto"] = "auto"
    compile: StrictBool = False  # torch.compile for the training passes: minutes once, then faster
    cuda_graphs: StrictBool = True  # on a GPU, forward and backward launched as one


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
