"""Which served bundle a name means: NAME@VERSION, or NAME for the newest version of it."""

from __future__ import annotations

from collections.abc import Sequence

from melanoma.errors import RecipeError
from melanoma.scoring.scorer import Scorer


def name_scorers(scorers: Sequence[Scorer]) -> dict[str, Scorer]:
    """The scorers by the name that answers, metrics and the log have for them.

    That is the bundle's name, or NAME@VERSION where several versions of it are served; then the
    newest stands first, in the place where the name was first given. Raises RecipeError when there
    is none, or one version of one name twice.
    """
    by_name: dict[str, list[Scorer]] = {}
    for scorer in scorers:
        by_name.setdefault(scorer.bundle.name, []).append(scorer)
    by_label: dict[str, Scorer] = {}
    for name, versions in by_name.items():
        newest_first = sorted(versions, key=lambda one: -one.bundle.version)
        for scorer in newest_first:
            label = name if len(versions) == 1 else _full_name(scorer)
            if label in by_label:
                raise RecipeError(
                    f"two bundles are {label}; serve one of them, or give the other another "
                    "version in its recipe"
                )
            by_label[label] = scorer
    if not by_label:
        raise RecipeError("no bundle to serve")
    return by_label


def find_scorer(scorers: dict[str, Scorer], name: str) -> Scorer | None:
    """The scorer of NAME@VERSION, or the newest of NAME; None where none is served."""
    # Newest first, so that a name alone means the newest.
    for label, scorer in scorers.items():
        if name in (label, scorer.bundle.name, _full_name(scorer)):
            return scorer
    return None


def _full_name(scorer: Scorer) -> str:
    return f"{scorer.bundle.name}@{scorer.bundle.version}"
