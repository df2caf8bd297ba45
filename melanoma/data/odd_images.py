"""What the decoder warns of, counted over a data set: who trains should know it as callers do."""

from __future__ import annotations

from collections.abc import Iterable

from melanoma.data.readers.files import some_names

_MEANINGS = {
    "low_information": "there is little to see, or noise",
    "strong_compression": "it was compressed so strongly that details are lost",
    "multi_frame": "the first of several frames was taken",
    "unverified_image": "whether the file is whole could not be checked",
    "ignored_color_profile": "the colors are as stored, for their profile could not be used",
    "unstated_bit_depth": "16 bits of which few are filled: it may be far too dark",
}


class OddImages:
    """The decoder's warnings, and the names of the images that have them."""

    def __init__(self) -> None:
        self._names: dict[str, list[str]] = {}

    def add(self, name: str, warnings: Iterable[str]) -> None:
        """Note what one photograph is warned of."""
        for warning in warnings:
            self._names.setdefault(warning, []).append(name)

    def lines(self) -> list[str]:
        """A sentence a warning, with the count and the first names."""
        return [
            f"{len(names):,} images have the warning {warning} "
            f"({_MEANINGS.get(warning, 'see the how-to')}): {some_names(names)}"
            for warning, names in sorted(self._names.items())
        ]
