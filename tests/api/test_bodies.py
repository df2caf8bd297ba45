"""Uploads that hang, come slowly, are too large together, or are broken off."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from tiny_service import Served, refused, start_service

from api import bodies
from melanoma import serve

FORM = b"Content-Type: multipart/form-data; boundary=B\r\n"
PART = b'--B\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
MOST_MB, SECONDS = 87, 15


@pytest.fixture(scope="module")
def hurried(bundle_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service whose uploads have few seconds and little memory; its log is at `log`."""
    log = tmp_path_factory.mktemp("hurried") / "log"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MELANOMA_BODY_MB", str(MOST_MB))
        patch.setenv("MELANOMA_BODY_SECONDS", str(SECONDS))
        served = start_service(bundle_folder, log)
    served.log = log
    yield served
    served.process.kill()
    served.process.wait()


def upload(service: Served, body: bytes, *, length: int, more: bytes = b"") -> socket.socket:
    """A connection on which `body` was sent, of the `length` bytes that were announced."""
    connection = socket.create_connection(("127.0.0.1", service.port), timeout=30)
    connection.sendall(
        b"POST /predict HTTP/1.1\r\nHost: a\r\n%s%sContent-Length: %d\r\n\r\n"
        % (FORM, more, length)
    )
    connection.sendall(body)
    return connection


def read_reply(connection: socket.socket) -> httpx.Response:
    received = b""
    while b"\r\n\r\n" not in received:
        more = connection.recv(65536)
        assert more, f"closed after {received!r}"
        received += more
    head, _, body = received.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines[1:])
    while len(body) < int(headers["content-length"]):
        body += connection.recv(65536)
    return httpx.Response(int(lines[0].split()[1]), headers=headers, content=body)


def _counted(service: Served, code: int) -> float:
    wanted = f'melanoma_requests_total{{code="{code}",route="/predict"}}'
    lines = httpx.get(f"{service.address}/metrics", timeout=20).text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(wanted))


def until(holds: Callable[[], bool]) -> bool:
    """Whether it holds within some seconds."""
    for _ in range(100):
        if holds():
            return True
        time.sleep(0.1)
    return False


def test_uploads_that_stop_at_their_last_byte_fill_the_budget_and_no_more(
    hurried: Served, photograph: bytes
) -> None:
    data = PART + b"\0" * 9_900_000
    held = [upload(hurried, data, length=len(data) + 1) for _ in range(MOST_MB // 10)]
    replies: list[httpx.Response] = []

    def is_refused() -> bool:
        """An announcement beyond the budget, once the others' bytes have been read."""
        beyond = upload(hurried, b"", length=9_900_000)
        beyond.settimeout(1)
        try:
            replies.append(read_reply(beyond))
        except TimeoutError:
            return False
        finally:
            beyond.close()
        return True

    assert until(is_refused)
    refused(replies[0], 503, "busy")
    assert int(replies[0].headers["retry-after"]) >= 1
    # A small one still has room; and one that announces nothing is refused on its way.
    files = {"file": photograph}
    assert httpx.post(f"{hurried.address}/predict", files=files, timeout=60).status_code == 200
    chunks = (data[i : i + 65536] for i in range(0, len(data), 65536))
    kind = {"content-type": "multipart/form-data; boundary=B"}
    reply = httpx.post(f"{hurried.address}/predict", content=chunks, headers=kind, timeout=60)
    refused(reply, 503, "busy")
    for connection in held:
        connection.close()
    large = PART + b"\0" * 9_900_000 + b"\r\n--B--\r\n"

    def fits() -> bool:
        reply = httpx.post(f"{hurried.address}/predict", content=large, headers=kind, timeout=60)
        return reply.status_code == 415  # read whole, and no photograph

    assert until(fits), "bytes of those that left are still counted"


def test_a_body_that_drips_is_refused_when_its_time_is_over(
    bundle_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MELANOMA_BODY_SECONDS", "1")
    service = start_service(bundle_folder, tmp_path / "log")
    try:
        connection = upload(service, PART, length=5000)
        connection.settimeout(0.2)
        for _ in range(375):
            connection.sendall(b"a")
            try:
                reply = read_reply(connection)
                break
            except TimeoutError:
                continue
        else:
            raise AssertionError("a drip holds the upload open")
        assert "within 1 s" in refused(reply, 408, "upload_timeout")
    finally:
        service.process.kill()
        service.process.wait()


@pytest.mark.parametrize("kind", [b"multipart/form-data; boundary=B", b"application/json"])
def test_an_upload_that_is_broken_off_is_499_and_one_line(hurried: Served, kind: bytes) -> None:
    before, lines = _counted(hurried, 499), hurried.log.read_text().splitlines()
    for _ in range(5):
        connection = socket.create_connection(("127.0.0.1", hurried.port), timeout=30)
        connection.sendall(
            b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: %s\r\n"
            b"Content-Length: 9999\r\n\r\n--B\r\n" % kind
        )
        time.sleep(0.1)
        connection.close()
    assert until(lambda: _counted(hurried, 499) == before + 5)
    assert _counted(hurried, 500) == 0
    more = hurried.log.read_text().splitlines()[len(lines) :]
    assert len(more) == 5, more
    assert all("left in the middle of the upload" in line for line in more)


@pytest.mark.parametrize("size", [12_000_000, 40_000_000])
def test_a_client_that_sends_everything_before_it_reads_is_told_too(
    hurried: Served, size: int
) -> None:
    """As urllib does: a connection that is cut under it gives no status at all."""
    body = PART + b"\0" * (size - len(PART))
    connection = upload(hurried, body, length=size, more=b"Connection: close\r\n")
    refused(read_reply(connection), 413, "too_large")


def test_what_is_read_after_a_refusal_has_an_end(hurried: Served) -> None:
    connection = upload(hurried, PART, length=10**12)
    refused(read_reply(connection), 413, "too_large")
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        for _ in range(2000):
            connection.sendall(b"\0" * 100_000)


# Its uploads have a second to end, in place of a few; its log tells of each chunk.
HASTY = """
from api import bodies
from melanoma import serve, terminal
bodies.LEAVING_SECONDS = 1.0
read = bodies.Bodies.next_chunk
async def told(self, *stream):
    chunk = await read(self, *stream)
    print("a chunk came", flush=True)
    return chunk
bodies.Bodies.next_chunk = told
terminal.run(serve.app)
"""


def test_an_end_is_not_held_up_by_an_upload_that_stalls(
    bundle_folder: Path, tmp_path: Path, photograph: bytes
) -> None:
    assert 3 < bodies.LEAVING_SECONDS < serve.GRACE_SECONDS
    service = start_service(bundle_folder, tmp_path / "log", python=("-c", HASTY))
    try:
        stalled = upload(service, PART, length=5000)
        assert until(lambda: "a chunk came" in (tmp_path / "log").read_text())
        asked = time.monotonic()
        service.process.terminate()
        reply = read_reply(stalled)
        assert time.monotonic() - asked > 0.75, "the upload was given no time to end"
        refused(reply, 503, "not_ready")
        # docker stop kills after ten seconds; the machine that tests may be slow.
        assert service.process.wait(timeout=20) == 0
        assert "Traceback" not in (tmp_path / "log").read_text()
    finally:
        service.process.kill()
        service.process.wait()
