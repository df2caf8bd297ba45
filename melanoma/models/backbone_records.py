"""What the library knows of a backbone, and of the weights that are published for it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from torch import Tensor, nn

Triple: TypeAlias = tuple[float, float, float]
# The scaling of pixels by its name, or the mean and the deviation of each channel.
Scaling: TypeAlias = Literal["imagenet", "half"] | tuple[Triple, Triple]


@dataclass(frozen=True)
class PublishedWeights:
    """Where a backbone's ImageNet weights are published, and what they must hash to.

    `sha256` holds all 64 digits, or the first eight where the publisher states no more (in the
    file's name); the file's digest must start with it. `original` is the name of the file that this
    is a copy of, where people still have that one.
    """

    url: str
    sha256: str
    note: str
    original: str = ""

    @property
    def file_name(self) -> str:
        """The file's name, as published."""
        return self.url.rsplit("/", 1)[1]


@dataclass(frozen=True)
class PackagedWeights:
    """Weights that a package of the package index brings: `file` in its import package `module`."""

    package: str
    module: str
    file: str
    sha256: str
    note: str

    @property
    def file_name(self) -> str:
        """The file's name, as it comes."""
        return self.file.rsplit("/", 1)[1]


@dataclass(frozen=True)
class HubWeights:
    """Weights that timm fetches by the model's name; nobody states their digest."""

    model: str
    note: str
    sha256: str = "not pinned"


@dataclass(frozen=True)
class Backbone:
    """How to build a backbone, and what the rest of the library must know about it.

    `stage` maps the name of a parameter to its depth, from 0 (stem) to `stages` - 1 (top).
    `normalization` is the scaling that the published weights expect. `ignored` are the key
    prefixes of the published file that belong to its ImageNet head; `rename` turns its other keys
    into the backbone's, and `reorder` the whole file where it has names of its own.
    """

    name: str
    features: int
    build: Callable[[], nn.Module]
    stage: Callable[[str], int]
    stages: int
    normalization: Scaling
    pretrained: PublishedWeights | PackagedWeights | HubWeights
    ignored: tuple[str, ...]
    rename: Callable[[str], str] = str
    reorder: Callable[[Sequence[str]], Sequence[str]] | None = None


# What a backbone gives: maps or tokens, of several branches where it has them.
Features: TypeAlias = Tensor | Sequence[Tensor]


class PooledBackbone(nn.Module):
    """A backbone with its own way from what it gives to an embedding; others are averaged."""

    @abstractmethod
    def pool(self, features: Features) -> Tensor:
        """(B, D) of what `forward` gave."""

    @abstractmethod
    def as_map(self, features: Tensor) -> Tensor | None:
        """(B, C, h, w) of a tensor that `forward` gave, or of its gradient; None where no place of
        it reaches the embedding, as behind a class token."""
