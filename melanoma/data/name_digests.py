"""Digests in place of the names of training images: in a clinic a file's name is often a patient's.

They are the same for one name everywhere, so that what an external set or a photograph shares with
the training images is still found, by whoever has the name. They do not hide a name that can be
guessed (a number, or a surname and a date): who must rule that out ships no names at all.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable

# No secret, or nobody could compare; but tables of plain sha256 of names are of no use here.
_KEY = b"melanoma: name of a training image"
_DIGEST = re.compile(r"hmac:[0-9a-f]{16}")


def training_name_digest(name: str) -> str:
    """`hmac:` and 16 hexadecimal digits (of HMAC-SHA256) for an image name; a digest as it is.

    64 bits: two of a million names are alike with a chance of 1 in 37 million.
    """
    if _DIGEST.fullmatch(name):
        return name
    return "hmac:" + hmac.new(_KEY, name.encode(), hashlib.sha256).hexdigest()[:16]


def with_known_names(names: Iterable[str], known: Iterable[str]) -> list[str]:
    """`names`, where digests of names that are `known` are replaced by these.

    So plain names and digests can stand in one list, and both are compared with what is at hand.
    """
    listed = list(names)
    if not any(_DIGEST.fullmatch(name) for name in listed):
        return listed
    name_of = {training_name_digest(name): name for name in known}
    return [name_of.get(name, name) for name in listed]
