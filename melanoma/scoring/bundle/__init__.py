"""The sealed bundle: read, sealed, checked by its golden image, shipped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from melanoma.scoring.bundle.bundle import load_bundle

__all__ = ["load_bundle"]


def __getattr__(name: str) -> Any:
    # Once asked for: this package's parts import each other.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from melanoma.scoring.bundle.bundle import load_bundle

    return load_bundle
