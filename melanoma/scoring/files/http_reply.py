"""What came back over HTTP from a service, before anything in it is believed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from melanoma.errors import ServiceError

LONGEST_WAIT = 30  # seconds between two attempts


class Reply(NamedTuple):
    """What came back, whatever its status."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self, address: str) -> dict[str, Any]:
        """The body's object. Raises ServiceError when it is none."""
        try:
            value = json.loads(self.body)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise ServiceError(
                f"{address} answers {self.status} without JSON; is a melanoma service there?"
            )
        return value

    def header(self, name: str, default: str) -> str:
        """The header of that lower-case name, whatever case it came in."""
        values = (value for key, value in self.headers.items() if key.lower() == name)
        return next(values, default)

    @property
    def retry_after(self) -> int:
        """Seconds to wait before another attempt."""
        text = self.header("retry-after", "1").strip()
        if not (text.isascii() and text.isdecimal()):
            return 1
        return int(text) if len(text) < 10 else LONGEST_WAIT + 1
