"""Every refusal of the service: its code, its status, and the one shape of its body."""

from __future__ import annotations

import logging

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from melanoma.errors import ImageError, ScoreError

log = logging.getLogger("melanoma.api")

# Codes of the decoder (melanoma.data) stand here beside the service's own. 499 is nginx's,
# for the log: whoever would read it has gone.
STATUS = {
    "bad_aspect": 422,
    "bad_base64": 422,
    "bad_json": 400,
    "bad_multipart": 400,
    "bad_request": 400,
    "busy": 503,
    "client_gone": 499,
    "corrupt_image": 422,
    "deadline": 503,
    "does_not_fit": 422,
    "empty_file": 422,
    "internal": 500,
    "invalid_field": 422,
    "method_not_allowed": 405,
    "missing_file": 422,
    "non_finite_score": 500,
    "not_found": 404,
    "not_ready": 503,
    "too_complex": 422,
    "too_large": 413,
    "too_many_files": 422,
    "too_many_pixels": 422,
    "too_small": 422,
    "trained_on_drawings": 422,
    "unauthorized": 401,
    "unknown_field": 422,
    "unknown_model": 404,
    "unsupported_format": 415,
    "upload_timeout": 408,
}
_RETRY_SECONDS = "1"

REQUEST_ID = "melanoma.request_id"  # where the ASGI scope keeps it


class Refusal(Exception):  # noqa: N818 - a refusal is an answer, not an error of ours
    """An answer that is no score; `code` is one of STATUS."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def request_id_of(request: Request) -> str:
    """The id that this request's answer, headers and log lines carry."""
    return str(request.scope[REQUEST_ID])


def error_body(code: str, message: str, request_id: str) -> dict[str, object]:
    """The body of every refusal."""
    return {
        "success": False,
        "error": {"code": code, "message": message, "request_id": request_id},
        "detail": message,  # the sentence alone, where FastAPI's own errors have it
    }


def refuse(request: Request, code: str, message: str, **headers: str) -> JSONResponse:
    """The reply for a code of STATUS."""
    if code in ("busy", "not_ready"):
        headers["Retry-After"] = _RETRY_SECONDS
    if code == "unauthorized":
        headers["WWW-Authenticate"] = "Bearer"
    body = error_body(code, message, request_id_of(request))
    return JSONResponse(body, STATUS[code], headers=headers)


def add_handlers(app: FastAPI) -> None:
    """Let every exception that reaches the application leave it as a refusal."""
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(ImageError, _refused)
    app.add_exception_handler(ScoreError, _not_finite)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _by_framework)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(Exception, _broken)


async def _refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Refusal | ImageError)
    return refuse(request, error.code, str(error))


async def _not_finite(request: Request, error: Exception) -> JSONResponse:
    log.error("request %s: %s", request_id_of(request), error)
    return refuse(request, "non_finite_score", f"{error}; report the request id")


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"])
    return refuse(request, "invalid_field", f"{field}: {first['msg']}")


async def _by_framework(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        allowed = dict(error.headers or {}).get("Allow", "")
        if allowed == "GET":
            allowed = "GET, HEAD"
        message = f"{request.method} is not answered here; use {allowed}"
        return refuse(request, "method_not_allowed", message, Allow=allowed)
    return refuse(request, "not_found", "there is nothing here; /openapi.json lists what there is")


async def _gone(request: Request, error: Exception) -> JSONResponse:
    del error
    log.warning("request %s: the caller left in the middle of the upload", request_id_of(request))
    return refuse(request, "client_gone", "the upload was broken off")


async def _broken(request: Request, error: Exception) -> JSONResponse:
    # The traceback is for the log, through the server; the caller gets the id to quote.
    log.error("request %s failed: %s", request_id_of(request), type(error).__name__)
    return refuse(request, "internal", "scoring failed; try again, or report the request id")
