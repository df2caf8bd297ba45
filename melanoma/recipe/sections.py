"""The sections of a recipe, each strict and frozen; melanoma.recipe puts them together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Discriminator, Field, StrictBool, Tag, model_validator

from melanoma.recipe.part import ClassName as ClassName
from melanoma.recipe.part import Count as Count
from melanoma.recipe.part import Part as Part
from melanoma.recipe.part import Positive as Positive
from melanoma.recipe.part import Share as Share
from melanoma.recipe.training_options import Auxiliary, Mix, Teacher

Metric = Literal[
    "auroc", "auprc", "macro_auroc", "accuracy", "balanced_accuracy", "macro_f1", "loss"
]

BINARY_CLASSES = ("benign", "melanoma")
# How grave a class is: what an answer's verdict and its sums go by.
Risk = Literal["malignant", "premalignant", "benign", "none"]
SUSPICIOUS = ("malignant", "premalignant")
ImageType = Literal["dermatoscope", "clinical", "any"]


class Scaling(Part):
    """Own values in the place of a name: (pixel / 255 - mean) / std, for red, green and blue."""

    mean: tuple[Share, Share, Share]
    """Mean of each channel, from 0 to 1."""
    std: tuple[Positive, Positive, Positive]
    """Deviation of each channel."""


def _normalize_kind(value: object) -> str:
    return "values" if isinstance(value, dict | Scaling) else "name"


class Image(Part):
    size: Annotated[int, Field(ge=32, le=1024)] = 128
    """Side of the square that the network sees, pixels."""
    fit: Literal["squash", "center"] = "squash"
    """How a rectangle becomes a square: squashed, or its centre cut out."""
    normalize: Annotated[
        Annotated[Literal["imagenet", "half"], Tag("name")] | Annotated[Scaling, Tag("values")],
        Discriminator(_normalize_kind),
    ] = "imagenet"
    """Scaling of the pixels: ImageNet's mean and deviation, .5 and .5 (half), or own values."""


class Folds(Part):
    """Which images are held out when; what is decided here is frozen in the fold file.

    `holdout` is a test part beside the folds, scored once by evaluate and never read by training:
    none, a share of the images, folders (the data's own test folder, which must be there), or
    supplied (the same, or none where the data has no such folder). `k: 1` is a single split into
    training and validation; a validation folder that the data brings along is such a split, and its
    test folder the test part, whatever `k` and `holdout` say, unless `own_validation` is pooled.
    """

    name: str
    """Name of the fold file, folds/NAME.csv."""
    k: Annotated[int, Field(ge=1, le=20)] = 5
    """Number of folds; 1 is a single split into training and validation."""
    validation: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.2
    """Share held out by a single split (k: 1)."""
    own_validation: Literal["split", "pooled"] = "split"
    """The data's own validation folder (valid, val, validation): the single split, or pooled with
    the training images."""
    holdout: Literal["none", "folders", "supplied"] | Annotated[float, Field(gt=0.0, lt=1.0)] = (
        "none"
    )
    """Test part beside the folds: none, a share of the images, the data's own (folders), or the
    data's own where there is one (supplied)."""
    group_by: Literal["patient", "none"] = "patient"
    """Patient: patients, lesions and duplicates stay whole. None: leaks, and the report says so."""
    stratify: Literal["label", "label_and_size"] = "label"
    """What every fold has its share of: each class; or also groups of each number of images."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the ties in the assignment."""

    @model_validator(mode="after")
    def _validation_has_a_use(self) -> Folds:
        if self.stratify != "label" and (self.k == 1 or self.group_by == "none"):
            raise ValueError("stratify: label_and_size is for several folds of whole groups")
        if self.k > 1 and self.validation != 0.2:
            raise ValueError(f"validation is for k: 1; of {self.k} folds each is held out once")
        return self


class Head(Part):
    """Hidden layers between the pooled features and the logits."""

    hidden: Annotated[tuple[Count, ...], Field(min_length=1)]
    """Widths of the hidden layers."""
    activation: Literal["relu", "gelu", "silu"] = "relu"
    """Activation after each hidden layer."""
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Dropout after each activation."""


class Model(Part):
    backbone: str = "se_resnext50_32x4d"
    """Name of the backbone; an unknown one is refused with the known ones."""
    pretrained: str = "none"
    """Weights to start from: none, imagenet, or a file."""
    embeddings: str | None = None
    """Another model's embeddings (.npy, a row an image; names beside it) in the place of images and
    backbone: the head alone is trained, and no bundle is made."""
    freeze_backbone: StrictBool = False
    """Whether the backbone stays as it is in every epoch; stages say it one by one."""
    frozen_stages: Annotated[int, Field(ge=0)] = 0
    """Stages of the backbone, from the stem on, that keep their starting weights and BatchNorm
    statistics; they are the finest in space and the dearest to train."""
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Dropout on the pooled features."""
    head: Head | None = None
    """Hidden layers before the logits; none: one linear layer."""
    pooling: Literal["mean", "gem"] = "mean"
    """From feature maps to one embedding: their mean, or a generalized mean that is learned."""
    dropout_samples: Count = 1
    """Draws of the dropout a training image, whose logits are averaged (multi-sample dropout)."""

    @property
    def network(self) -> str:
        """What sees the images, in a word or two."""
        if self.embeddings is None:
            return self.backbone
        return f"embeddings of another model ({Path(self.embeddings).name})"


class Loss(Part):
    name: str = "bce"
    """Name of the loss; an unknown one is refused with the known ones."""
    parameters: dict[str, float] = Field(default_factory=dict)
    """The loss's own parameters, such as gamma of focal; an unknown one is refused."""
    positive_weight: Literal["ratio", "effective", "none"] | Positive = "none"
    """Weight of the positives: negatives / positives (ratio), the same of effective numbers, or a
    number; one output only."""
    class_weight: Literal["none", "balanced", "sqrt", "effective"] = "none"
    """Weight of each class by its rarity; several outputs only."""
    beta: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.999
    """Beta of effective numbers, (1 - beta ** images) / (1 - beta)."""
    cap: Positive | None = None
    """Largest weight that ratio, balanced, sqrt or effective may give."""
    label_smoothing: Annotated[float, Field(ge=0.0, lt=0.5)] = 0.0
    """Share of the target that is spread over the classes."""
    auxiliary: Auxiliary | None = None
    """A second target, such as the diagnosis beside melanoma; none: the classes alone."""
    teacher: Teacher | None = None
    """Soft targets of a teacher beside the labels (distillation); none: the labels alone."""


class Sampler(Part):
    name: Literal["shuffle", "balanced"] = "shuffle"
    """Shuffle: every image once an epoch. Balanced: classes drawn by share."""
    positive_share: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.5
    """Share of positives that balanced draws; one output only."""


class Optimizer(Part):
    name: Literal["adam", "adamw", "sgd", "lion"] = "adam"
    """The optimizer; lion wants a third to a tenth of adamw's rate."""
    rate: Positive = 1e-4
    """Highest learning rate, of the head."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.0
    """Weight decay; none on biases and BatchNorm."""
    backbone_ratio: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """The backbone's rate as a share of the head's."""
    depth_decay: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Ratio of the rates of one depth of the backbone and the next."""
    clip_norm: Positive | None = None
    """Largest norm of the gradient; none: not clipped."""
    sam_rho: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    """Radius of SAM's step uphill, such as 0.05, which doubles the time; 0: without SAM."""


class Schedule(Part):
    name: Literal["plateau", "cosine", "one_cycle", "step", "constant"] = "plateau"
    """How the rate changes over the epochs."""
    warmup_epochs: Annotated[float, Field(ge=0.0)] = 0.0
    """Epochs over which the rate rises from 0 (cosine and one_cycle)."""
    factor: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.1
    """By what plateau and step multiply the rate."""
    patience: Annotated[int, Field(ge=0)] = 3
    """Epochs without a gain before plateau lowers the rate."""
    threshold: Annotated[float, Field(ge=0.0)] = 1e-3
    """Least gain that plateau counts as one."""
    threshold_mode: Literal["abs", "rel"] = "abs"
    """Abs: the gain itself. Rel: as a share of the best so far, as torch's default is."""
    metric: Literal["selection", "loss"] = "selection"
    """What plateau watches on the held-out images: the selection metric, or the loss."""
    every: Count = 4
    """Epochs between two steps."""
    final_share: Share = 0.01
    """Last rate of cosine and one_cycle as a share of the highest."""


class StageOptimizer(Part):
    """What a stage says otherwise than the recipe's optimizer section."""

    rate: Positive | None = None
    """Highest learning rate of this stage."""
    weight_decay: Annotated[float, Field(ge=0.0)] | None = None
    """Weight decay of this stage."""
    backbone_ratio: Annotated[float, Field(gt=0.0, le=1.0)] | None = None
    """The backbone's rate as a share of the head's, in this stage."""
    depth_decay: Annotated[float, Field(gt=0.0, le=1.0)] | None = None
    """Rate ratio from depth to depth, in this stage."""


class Stage(Part):
    """Some epochs of a recipe that trains in stages, each with an optimizer of its own.

    `frozen` leaves the backbone as it is: its parameters and its BatchNorm statistics. A schedule
    stands in the place of the recipe's and runs over the stage's epochs.
    """

    epochs: Count
    """Epochs of this stage."""
    frozen: StrictBool = False
    """Whether the backbone stays as it is."""
    optimizer: StageOptimizer = StageOptimizer()
    """What differs from the recipe's optimizer."""
    schedule: Schedule | None = None
    """A schedule in the place of the recipe's."""
    size: Annotated[int, Field(ge=32, le=1024)] | None = None
    """Side of the squares that train in this stage, pixels, below image.size (progressive size)."""


@dataclass(frozen=True)
class StagePlan:
    """A stage with everything that it takes from the recipe written out."""

    epochs: int
    frozen: bool
    optimizer: Optimizer
    schedule: Schedule
    size: int | None = None


class Training(Part):
    epochs: Count = 25
    """Number of epochs; with stages their sum, which need not be said."""
    batch_size: Count = 64
    """Images a batch."""
    accumulate: Count = 1
    """Batches a step of the optimizer."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Type of the products; auto: bfloat16 where the hardware multiplies it."""
    ema_decay: Annotated[float, Field(gt=0.0, lt=1.0)] | None = None
    """Decay of an average of the weights, which is then what is scored; none: no average."""
    precise_bn: Annotated[int, Field(ge=0)] = 0
    """How many training images renew BatchNorm's statistics after each epoch; 0: none."""
    bfloat16_weights: StrictBool = False
    """Whether kept weights are rounded to what bfloat16 holds, so that it changes scores little."""
    compile: StrictBool = False
    """Whether torch.compile makes the training passes: minutes once, then faster."""
    cuda_graphs: StrictBool = True
    """Whether a GPU is given forward and backward as one (CUDA graphs)."""
    checkpointing: StrictBool = False
    """Whether activations are computed twice instead of kept: less memory, a third more time."""
    augment_on: Literal["processor", "device"] = "processor"
    """Where `augment` is done: image by image as they are loaded, or by batch where training is."""
    mix: Mix | None = None
    """Mixup and cutmix; none: each image alone."""
    workers: Annotated[int, Field(ge=0)] | Literal["auto"] = "auto"
    """Processes that load images; auto: none on a CPU."""


class Selection(Part):
    keep: Literal["best", "last"] = "best"
    """The epoch whose weights enter the bundle."""
    metric: Metric | None = None
    """What picks the best epoch; none: auroc, with several outputs macro_auroc."""
    patience: Count | None = None
    """Epochs without a gain that end the run; none: all epochs."""
    min_delta: Annotated[float, Field(ge=0.0)] = 1e-4
    """Least gain that counts as one."""


class Evaluation(Part):
    views: Literal[1, 2, 4, 8] = 1
    """Views averaged, as logits: 2 adds the half turn, 4 the quarter turns, 8 mirror images."""
    sensitivity: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.95
    """Sensitivity of the threshold that flags."""
    sensitivities: tuple[Annotated[float, Field(gt=0.0, le=1.0)], ...] = (0.8, 0.9)
    """Sensitivities of further operating points."""
    specificities: tuple[Share, ...] = (0.8, 0.9)
    """Specificities of further operating points."""
    calibration: Literal["auto", "scale", "temperature"] = "auto"
    """Scale: slope and intercept (a number a class). Temperature: slope alone. Auto: scale where it
    makes the out-of-fold log loss smaller, over all images and in most folds, else nothing."""
    set_level: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.9
    """Share of every class's lesions whose set of possible classes holds the true one."""
    resamples: Annotated[int, Field(ge=100)] = 2000
    """Bootstrap resamples of every interval."""
