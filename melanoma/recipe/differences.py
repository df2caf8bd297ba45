"""What two recipes, or two identities of any kind, differ in: a line for each value."""

from __future__ import annotations

from typing import Any, TypeGuard


def differences(ours: dict[str, Any], theirs: dict[str, Any], prefix: str = "") -> list[str]:
    """`field: theirs -> ours` for every leaf that differs between two identities.

    Of lists whose items have a name (`data.sources`), first the names where those differ, then
    the leaves of each item that both have: `data.sources.NAME.weight: 1 -> 0.5`.
    """
    changed: list[str] = []
    for key in sorted(ours.keys() | theirs.keys()):
        mine, other = ours.get(key), theirs.get(key)
        if isinstance(mine, dict) and isinstance(other, dict):
            changed += differences(mine, other, f"{prefix}{key}.")
        elif _are_named(mine, other):
            changed += _named_differences(mine or [], other or [], f"{prefix}{key}")
        elif mine != other:
            changed.append(f"{prefix}{key}: {other} -> {mine}")
    return changed


_Named = list[dict[str, Any]]


def _named_differences(ours: _Named, theirs: _Named, field: str) -> list[str]:
    mine, others = ({item["name"]: item for item in items} for items in (ours, theirs))
    changed = []
    if list(mine) != list(others):
        changed.append(f"{field}: {', '.join(others) or 'none'} -> {', '.join(mine) or 'none'}")
    for name, item in mine.items():
        if name in others:
            changed += differences(item, others[name], f"{field}.{name}.")
    return changed


def _are_named(one: Any, other: Any) -> bool:
    """Whether both are lists of items with a name, one of them perhaps absent."""
    return bool(one or other) and all(_has_names(items) for items in (one, other) if items)


def _has_names(items: Any) -> TypeGuard[_Named]:
    if not isinstance(items, list) or not all(
        isinstance(item, dict) and isinstance(item.get("name"), str) for item in items
    ):
        return False
    return len({item["name"] for item in items}) == len(items)
