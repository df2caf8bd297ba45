"""A melanoma service as a FileScorer: files go out, the rows of a local run come back.

It stands here and not in api/, which no command may import. Asked with the standard library alone:
scoring elsewhere needs neither torch nor a client library.
"""

from __future__ import annotations

import http.client
import io
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote, urlsplit
from uuid import uuid4

from PIL import Image

from melanoma.data.images import MAX_BYTES, MAX_FILE_BYTES, decode_image
from melanoma.errors import ImageError, MelanomaError, RecipeError, ServiceError, plain_line
from melanoma.scoring.files.http_reply import LONGEST_WAIT, Reply
from melanoma.scoring.files.replies import DescribedModel, read_models, read_score
from melanoma.scoring.files.score_rows import Answer

_PARALLEL = 4  # the service micro-batches what comes at once
_ATTEMPTS = 20
_SCORE_SECONDS = 120
_LIME_SECONDS = 900  # High, on a slow processor; the service has its own, shorter, deadline
_LARGEST_REPLY = 64_000_000  # bytes
_BLOCK = 1 << 16
_ABOUT_THE_IMAGE = (413, 415, 422)
_LONGEST_TEXT = 300  # letters of a sentence that a service says


class RemoteScorer:
    """One bundle of a service at http(s)://HOST[:PORT][/PATH], asked for its digest once.

    Raises RecipeError for an address, a model or a token that cannot be meant, and ServiceError
    when nothing there answers as a melanoma service.
    """

    batches_at_once = 1

    def __init__(
        self,
        address: str,
        *,
        model: str | None = None,
        token: str | None = None,
        threshold: float | None = None,
        prevalence: float | None = None,
    ) -> None:
        self.address = _require_address(address)
        self._headers = {"User-Agent": "melanoma", **_authorization(token)}
        self._opener = urllib.request.build_opener(_NoRedirect)
        self.name, described = _choose_model(self._read_info(), model, self.address)
        self.digest, self.views = described.digest, described.views
        self.melanoma: Sequence[str] = described.melanoma
        self.classes: Sequence[str] = described.classes
        self.threshold, self.prevalence = threshold, prevalence
        self.engine = f"{described.backend} {described.precision}"
        self.size = described.image_size
        self.elsewhere: Sequence[Mapping[str, Any]] = [r.model_dump() for r in described.external]

    def prepare(self, data: bytes) -> bytes:
        """The bytes as they are: the service decodes them."""
        return data

    def answer(self, photographs: Sequence[bytes]) -> list[Answer]:
        """For each a Prediction's fields, or "code: sentence" where it has no score; the error
        where the service failed it, or its weights had changed."""
        with ThreadPoolExecutor(_PARALLEL) as pool:
            return list(pool.map(self._answer_or_error, photographs))

    def draw_lime(self, data: bytes, *, precision: str, seed: int = 0) -> bytes:
        """The PNG that explains a photograph. Raises ImageError, ServiceError."""
        reply = self._post(
            "/explain",
            data,
            {"method": "lime", "precision": precision, "seed": str(seed)},
            accept="image/png",
            seconds=_LIME_SECONDS,
        )
        if not _is_png(reply.body):
            raise ServiceError(f"{self.address}/explain did not answer with a PNG")
        return reply.body

    def _answer_or_error(self, data: bytes) -> Answer:
        try:
            return self._answer(data)
        except MelanomaError as error:
            return error

    def _answer(self, data: bytes) -> Mapping[str, Any] | str:
        try:
            if len(data) > MAX_BYTES:
                decode_image(data, limit=MAX_FILE_BYTES)  # refuses it in a local run's words,
                decode_image(data)  # or as too large for a service, and nothing is sent
            wishes = {"threshold": self.threshold, "prevalence": self.prevalence}
            asked = "".join(f"&{name}={v!r}" for name, v in wishes.items() if v is not None)
            reply = self._post("/predict", data, {}, seconds=_SCORE_SECONDS, asked=asked)
        except ImageError as error:
            return f"{error.code}: {error}"
        answer = read_score(reply.json(self.address), self.address)
        flags = answer.threshold.value if answer.threshold else None
        if self.threshold is not None and flags != self.threshold:
            raise ServiceError(
                f"{self.address} flags by its own threshold, whatever is asked for; leave out "
                "--threshold"
            )
        if self.prevalence is not None and answer.prevalence != self.prevalence:
            raise ServiceError(
                f"{self.address} does not move to another prevalence; leave out --prevalence"
            )
        digest = answer.model.digest
        if digest != self.digest:
            raise ServiceError(
                f"{self.address} changed its weights from {self.digest[:12]} to {digest[:12]} "
                "in the middle; run again"
            )
        return answer.model_dump()

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
        asked: str = "",
    ) -> Reply:
        kind, body = _form(data, fields)
        request = urllib.request.Request(
            f"{self.address}{path}?model={quote(self.name, safe='')}{asked}",
            data=body,
            headers={**self._headers, "Content-Type": kind, "Accept": accept},
        )
        return self._ask(request, seconds=seconds)

    def _ask(self, request: urllib.request.Request, *, seconds: float) -> Reply:
        """The reply, a 200. Raises for every other one, for some after several attempts."""
        for attempt in range(_ATTEMPTS):
            reply = self._send(request, seconds)
            wait = reply.retry_after
            if reply.status not in (429, 503) or wait > LONGEST_WAIT or attempt == _ATTEMPTS - 1:
                break
            time.sleep(wait)
        if reply.status != 200:
            raise _error(reply, self.address)
        return reply

    def _send(self, request: urllib.request.Request, seconds: float) -> Reply:
        try:
            with self._open(request, seconds) as answer:
                return Reply(answer.status, dict(answer.headers), _read_body(answer, seconds))
        except (OSError, http.client.HTTPException, ValueError) as error:
            # URLError, a time-out and a refused connection are all OSErrors; the bytes of what is
            # no HTTP end in either of the others.
            reason = getattr(error, "reason", error)
            message = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
            raise ServiceError(f"no answer from {self.address}: {_spoken(message)}") from error

    def _open(self, request: urllib.request.Request, seconds: float) -> Any:
        """What came back, whose body may break off, a refusal's too."""
        try:
            return self._opener.open(request, timeout=seconds)
        except urllib.error.HTTPError as error:
            return error


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect is an answer: neither the photograph nor the token goes to another place."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _require_address(address: str) -> str:
    """Without a slash at its end."""
    try:
        parts = urlsplit(address)
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        named = "@" in (parts.netloc if known else address)
    except ValueError:
        known, named = False, "@" in address
    if named:
        # Not repeated: it may hold a password, and a slash in that, or lack the http:// before it.
        raise RecipeError(
            "--url: a name or password before an @ is not sent; leave it out (--token is what a "
            "service asks for)"
        )
    if not known or parts.query or parts.fragment or not address.isascii() or " " in address:
        raise RecipeError(f"--url {address}: an address such as http://127.0.0.1:8000 is expected")
    return address.rstrip("/")


def _authorization(token: str | None) -> dict[str, str]:
    if token is None:
        return {}
    if not (token and token.isascii() and token.isprintable()):
        raise RecipeError("--token: printable ASCII characters are expected")
    return {"Authorization": f"Bearer {token}"}


def _choose_model(
    info: Mapping[str, Any], model: str | None, address: str
) -> tuple[str, DescribedModel]:
    """How ?model= names the model, and /info's entry: NAME, or of several versions NAME@VERSION.

    A service lists a name's newest version first, which a name alone means.
    """
    models = read_models(info, address)
    names = [described.name for described in models]
    known = {f"{m.name}@{m.version}" if names.count(m.name) > 1 else m.name: m for m in models}
    if model is None:
        return next(iter(known.items()))
    for key, entry in known.items():
        if model in (key, entry.name, f"{entry.name}@{entry.version}"):
            return key, entry
    raise RecipeError(f"--model {model}: {address} serves {', '.join(known)}")


def _read_body(answer: Any, seconds: float) -> bytes:
    """At most _LARGEST_REPLY bytes. Raises TimeoutError for a body that takes longer than
    `seconds` in all: the socket's own limit starts anew with every byte."""
    end, parts, size = time.monotonic() + seconds, [], 0
    while size < _LARGEST_REPLY and (part := answer.read1(_BLOCK)):
        parts.append(part)
        size += len(part)
        if time.monotonic() > end:
            raise TimeoutError("the answer never came to its end")
    return b"".join(parts)


def _is_png(data: bytes) -> bool:
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            image.verify()
    except Exception:  # Pillow raises whatever it stumbles over
        return False
    return True


def _spoken(value: object) -> str:
    """What a server said, in a line that a terminal only prints."""
    return plain_line(str(value), longest=_LONGEST_TEXT)


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
        place = _spoken(reply.header("location", "another address"))
        return RecipeError(f"--url {address}: it redirects to {place}; give that one")
    error = reply.json(address).get("error")
    if not isinstance(error, dict) or not {"code", "message"} <= set(error):
        return ServiceError(f"{address} answers {reply.status}; is a melanoma service there?")
    code, message = _spoken(error["code"]), _spoken(error["message"])
    if reply.status in _ABOUT_THE_IMAGE:
        return ImageError(code, message)
    if reply.status == 401:
        return RecipeError(f"{address} wants a token: {message} (--token, or MELANOMA_TOKEN)")
    if reply.status == 404:
        return RecipeError(f"--url {address}: {message}")
    number = _spoken(error.get("request_id") or "")
    asked = f" (request {number})" * bool(number)
    return ServiceError(f"{address} answers {reply.status} {code}: {message}{asked}")
