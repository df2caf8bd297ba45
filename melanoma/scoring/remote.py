"""A melanoma service as a FileScorer: files go out, the rows of a local run come back.

It stands here and not in api/, which no command may import. Of the standard library only: scoring
elsewhere needs neither torch nor a client library.
"""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit
from uuid import uuid4

from melanoma.data.images import MAX_BYTES, decode_image
from melanoma.errors import ImageError, RecipeError, ServiceError
from melanoma.scoring.batch import ImageFile

_PARALLEL = 4  # the service micro-batches what comes at once
_ATTEMPTS = 20
_LONGEST_WAIT = 30  # seconds between two attempts
_SCORE_SECONDS = 120
_LIME_SECONDS = 900  # High, on a slow processor; the service has its own, shorter, deadline
_LARGEST_REPLY = 64_000_000  # bytes
_ABOUT_THE_IMAGE = (413, 415, 422)
_FIELDS = (
    "melanoma_probability flagged threshold prediction probability by_class by_fold warnings model"
)


class RemoteScorer:
    """One bundle of a service at http(s)://HOST[:PORT][/PATH], asked for its digest once.

    Raises RecipeError for an address, a model or a token that cannot be meant, and ServiceError
    when nothing there answers as a melanoma service.
    """

    def __init__(self, address: str, *, model: str | None = None, token: str | None = None) -> None:
        self.address = _require_address(address)
        self._headers = {"User-Agent": "melanoma", **_authorization(token)}
        self._opener = urllib.request.build_opener(_NoRedirect)
        described = _choose_model(self._read_info(), model, self.address)
        self.name = str(described["name"])
        self.digest = str(described["digest"])
        self.views = int(described["views"])
        self.melanoma: Sequence[str] = described["melanoma"]

    def answer_files(self, files: Sequence[ImageFile]) -> list[Mapping[str, Any] | str]:
        """For each file a Prediction's fields, or "code: sentence" where it has no score.

        Raises ServiceError when the service fails, or when its weights have changed.
        """
        with ThreadPoolExecutor(_PARALLEL) as pool:
            return list(pool.map(self._answer, files))

    def draw_lime(self, data: bytes, *, precision: str, seed: int = 0) -> bytes:
        """The PNG that explains a photograph. Raises ImageError, ServiceError."""
        reply = self._post(
            "/explain",
            data,
            {"method": "lime", "precision": precision, "seed": str(seed)},
            accept="image/png",
            seconds=_LIME_SECONDS,
        )
        if not reply.body.startswith(b"\x89PNG"):
            raise ServiceError(f"{self.address}/explain did not answer with a PNG")
        return reply.body

    def _answer(self, file: ImageFile) -> Mapping[str, Any] | str:
        try:
            data = file.path.read_bytes()
            if len(data) > MAX_BYTES:
                decode_image(data)  # refuses it in a local run's words, and nothing is sent
            reply = self._post("/predict", data, {}, seconds=_SCORE_SECONDS)
        except ImageError as error:
            return f"{error.code}: {error}"
        except OSError as error:
            return f"unreadable_file: {error.strerror}"
        answer: dict[str, Any] = reply.json(self.address)
        missing = [field for field in _FIELDS.split() if field not in answer]
        if missing:
            raise ServiceError(f"{self.address}/predict answers without {', '.join(missing)}")
        digest = str(answer["model"]["digest"])
        if digest != self.digest:
            raise ServiceError(
                f"{self.address} changed its weights from {self.digest[:12]} to {digest[:12]} "
                "in the middle; run again"
            )
        return answer

    def _read_info(self) -> Any:
        request = urllib.request.Request(f"{self.address}/info", headers=self._headers)
        return self._ask(request, seconds=_SCORE_SECONDS).json(self.address)

    def _post(
        self,
        path: str,
        data: bytes,
        fields: Mapping[str, str],
        *,
        accept: str = "application/json",
        seconds: float,
    ) -> Reply:
        kind, body = _form(data, fields)
        request = urllib.request.Request(
            f"{self.address}{path}?model={quote(self.name, safe='')}",
            data=body,
            headers={**self._headers, "Content-Type": kind, "Accept": accept},
        )
        return self._ask(request, seconds=seconds)

    def _ask(self, request: urllib.request.Request, *, seconds: float) -> Reply:
        """The reply, a 200. Raises for every other one, for some after several attempts."""
        for attempt in range(_ATTEMPTS):
            reply = self._send(request, seconds)
            wait = reply.retry_after
            if reply.status not in (429, 503) or wait > _LONGEST_WAIT or attempt == _ATTEMPTS - 1:
                break
            time.sleep(wait)
        if reply.status != 200:
            raise _error(reply, self.address)
        return reply

    def _send(self, request: urllib.request.Request, seconds: float) -> Reply:
        try:
            with self._opener.open(request, timeout=seconds) as answer:
                return Reply(answer.status, dict(answer.headers), answer.read(_LARGEST_REPLY))
        except urllib.error.HTTPError as error:
            with error:
                return Reply(error.code, dict(error.headers), error.read(_LARGEST_REPLY))
        except (OSError, http.client.HTTPException) as error:
            # URLError, a time-out and a refused connection are all OSErrors.
            reason = getattr(error, "reason", error)
            said = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
            raise ServiceError(f"no answer from {self.address}: {said}") from error


class Reply(NamedTuple):
    """What came back, whatever its status."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self, address: str) -> dict[str, Any]:
        """The body's object. Raises ServiceError when it is none."""
        try:
            value = json.loads(self.body)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise ServiceError(
                f"{address} answers {self.status} without JSON; is a melanoma service there?"
            )
        return value

    def header(self, name: str, default: str) -> str:
        """The header of that lower-case name, whatever case it came in."""
        found = (value for key, value in self.headers.items() if key.lower() == name)
        return next(found, default)

    @property
    def retry_after(self) -> int:
        """Seconds to wait before another attempt."""
        said = self.header("retry-after", "1").strip()
        return int(said) if said.isdecimal() else 1


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect is an answer: neither the photograph nor the token goes to another place."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _require_address(address: str) -> str:
    """Without a slash at its end."""
    try:
        parts = urlsplit(address)
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        known = False
    if not known or parts.query or parts.fragment or not address.isascii() or " " in address:
        raise RecipeError(f"--url {address}: an address such as http://127.0.0.1:8000 is expected")
    return address.rstrip("/")


def _authorization(token: str | None) -> dict[str, str]:
    if token is None:
        return {}
    if not (token and token.isascii() and token.isprintable()):
        raise RecipeError("--token: printable ASCII characters are expected")
    return {"Authorization": f"Bearer {token}"}


def _choose_model(info: Any, model: str | None, address: str) -> dict[str, Any]:
    try:
        needed = {"digest", "views", "melanoma"}
        known = {str(m["name"]): m for m in info["models"] if needed <= set(m)}
        default = next(iter(known))
    except (KeyError, TypeError, StopIteration):
        raise ServiceError(f"{address}/info names no model; is a melanoma service there?") from None
    if model is not None and model not in known:
        raise RecipeError(f"--model {model}: {address} serves {', '.join(known)}")
    return dict(known[model or default])


def _form(data: bytes, fields: Mapping[str, str]) -> tuple[str, bytes]:
    """Content type and body of a multipart form. The file's own name stays here."""
    boundary = uuid4().hex
    parts = [f'name="{name}"\r\n\r\n{value}'.encode() for name, value in fields.items()]
    parts.append(b'name="file"; filename="photograph"\r\n\r\n' + data)
    head = f"--{boundary}\r\nContent-Disposition: form-data; ".encode()
    body = b"".join(head + part + b"\r\n" for part in parts)
    return f"multipart/form-data; boundary={boundary}", body + f"--{boundary}--\r\n".encode()


def _error(reply: Reply, address: str) -> Exception:
    if 300 <= reply.status < 400:
        place = reply.header("location", "another address")
        return RecipeError(f"--url {address}: it redirects to {place}; give that one")
    error = reply.json(address).get("error")
    if not isinstance(error, dict) or not {"code", "message"} <= set(error):
        return ServiceError(f"{address} answers {reply.status}; is a melanoma service there?")
    code, said = str(error["code"]), str(error["message"])
    if reply.status in _ABOUT_THE_IMAGE:
        return ImageError(code, said)
    if reply.status == 401:
        return RecipeError(f"{address} wants a token: {said} (--token, or MELANOMA_TOKEN)")
    if reply.status == 404:
        return RecipeError(f"--url {address}: {said}")
    number = error.get("request_id")
    return ServiceError(
        f"{address} answers {reply.status} {code}: {said}" + (f" (request {number})" * bool(number))
    )
