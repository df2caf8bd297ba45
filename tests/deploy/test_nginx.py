"""A real nginx, with the configuration that ships, before the real service."""

from __future__ import annotations

import base64
import json
import random
import select
import selectors
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from front import Front, directive, free_port
from tiny_service import HELD, Served, refused, start_service, wait_for_queue, wait_until

from melanoma.data.images import MAX_BYTES

StartFront = Callable[..., Front]
SECURITY = (
    "content-security-policy",
    "x-content-type-options",
    "x-frame-options",
    "referrer-policy",
    "x-request-id",
    "cache-control",
)


@pytest.fixture
def front(served: Served, start_front: StartFront) -> Front:
    return start_front(served.port)


@pytest.fixture
def other() -> Iterator[httpx.Client]:
    """Somebody at another address than all the rest."""
    with httpx.Client(transport=httpx.HTTPTransport(local_address="127.0.0.9"), timeout=60) as c:
        yield c


def test_a_score_through_nginx_is_the_services(
    front: Front, served: Served, photograph: bytes
) -> None:
    files = {"file": photograph}
    through = httpx.post(f"{front.address}/predict", files=files, timeout=60)
    direct = httpx.post(f"{served.address}/predict", files=files, timeout=60)
    assert through.status_code == 200, through.text
    ours, theirs = through.json(), direct.json()
    assert ours["melanoma_probability"] == pytest.approx(theirs["melanoma_probability"], abs=1e-6)
    assert through.headers["x-request-id"] == ours["request_id"]


@pytest.mark.parametrize("path", ["/", "/static/style.css", "/info", "/nowhere", "/metrics"])
def test_every_security_header_comes_once(front: Front, served: Served, path: str) -> None:
    reply = httpx.get(f"{front.address}{path}")
    for name in SECURITY:
        assert len(reply.headers.get_list(name)) == 1, name
    assert "1." not in reply.headers["server"], "nginx tells its version"
    if path != "/metrics":
        direct = httpx.get(f"{served.address}{path}")
        assert reply.status_code == direct.status_code
        assert reply.headers["content-security-policy"] == direct.headers["content-security-policy"]


def test_the_counters_are_not_public(front: Front) -> None:
    for path in ("/metrics", "/metrics/", "/metrics%2f", "/./metrics", "//metrics", "/METRICS"):
        refused(httpx.get(f"{front.address}{path}"), 404, "not_found")


def test_what_lies_behind_the_prefix_has_the_same_limits(
    bundle_folder: Path,
    start_front: StartFront,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """MELANOMA_ROOT_PATH: the service answers below it too, and nginx hands such addresses on."""
    monkeypatch.setenv("MELANOMA_ROOT_PATH", "/skin")
    service = start_service(bundle_folder, tmp_path / "log")
    try:
        front = start_front(service.port)
        for path in ("/skin/metrics", "/skin/skin/metrics/", "/metrics"):
            assert httpx.get(f"{service.address}{path}").status_code == 200
            refused(httpx.get(f"{front.address}{path}"), 404, "not_found")
        assert head_alone(front, "/skin/predict/batch", 64_000_000).status_code == 100
        large = head_alone(front, "/skin/predict/batch", 95_000_000)
        assert "64,000,000" in refused(large, 413, "too_large")
        refused(head_alone(front, "/skin/predict", 15_000_000), 413, "too_large")
        with httpx.Client(timeout=60) as client:
            replies = [client.get(f"{front.address}/skin/readyz") for _ in range(400)]
        assert {reply.status_code for reply in replies} == {200}
    finally:
        service.process.kill()
        service.process.wait()


def test_the_page_is_nobodys_rate(front: Front) -> None:
    with httpx.Client() as client:
        replies = [client.get(f"{front.address}/static/style.css") for _ in range(150)]
    assert {reply.status_code for reply in replies} == {200}


def test_a_flood_of_reads_is_limited_by_address_and_scores_are_not_in_it(
    front: Front, photograph: bytes, other: httpx.Client
) -> None:
    with httpx.Client(timeout=60) as client, ThreadPoolExecutor(8) as pool:
        ask = partial(client.get, f"{front.address}/classes")
        replies = list(pool.map(lambda _: ask(), range(600)))
        over = [reply for reply in replies if reply.status_code == 429]
        files = {"file": photograph}
        assert client.post(f"{front.address}/predict", files=files).status_code == 200
    assert len(over) > 100
    assert len(replies) - len(over) > 200, "a page and its files would not load"
    refused(over[0], 429, "too_many_requests")
    assert other.get(f"{front.address}/classes").status_code == 200


def test_whoever_watches_the_service_is_not_limited(front: Front) -> None:
    with httpx.Client(timeout=60) as client:
        replies = [client.get(f"{front.address}/healthz") for _ in range(400)]
    assert {reply.status_code for reply in replies} == {200}


@pytest.mark.parametrize("host", [b"", b"Host: skin.example\r\n"])
def test_a_probe_in_http_1_0_is_answered_with_a_host_and_without(front: Front, host: bytes) -> None:
    with front.connect() as connection:
        connection.sendall(b"GET /healthz HTTP/1.0\r\n" + host + b"\r\n")
        assert b" 200 OK\r\n" in connection.recv(65536)


# An attack with idle sockets -------------------------------------------------------------------

HALF_HEADER = b"POST /predict HTTP/1.1\r\nHost: a\r\nX-Some"
HALF_BODY = (
    b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: multipart/form-data; boundary=B\r\n"
    b"Content-Length: 9000000\r\n\r\n--B\r\nContent-Disposition: form-data; "
)


def attack(front: Front, count: int) -> list[socket.socket]:
    """So many sockets of each kind, from many addresses, as in an attack by many machines."""
    found = []
    for number in range(3 * count):
        connection = front.connect(f"127.0.1.{1 + number % 30}")
        connection.sendall((b"", HALF_HEADER, HALF_BODY)[number % 3])
        found.append(connection)
    return found


def closed(connections: list[socket.socket], *, within: float) -> int:
    """How many the other side closes within so many seconds; they leave the list."""
    until, before = time.monotonic() + within, len(connections)
    with selectors.DefaultSelector() as selector:
        for connection in connections:
            selector.register(connection, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select(timeout=0.2 if within else 0):
                connection = key.fileobj
                assert isinstance(connection, socket.socket)
                if not _read(connection):
                    selector.unregister(connection)
                    connection.close()
                    connections.remove(connection)
            if time.monotonic() >= until:
                break
    return before - len(connections)


def _read(connection: socket.socket) -> bytes:
    try:
        return connection.recv(65536)
    except ConnectionResetError:
        return b""


def test_idle_sockets_are_closed_in_time_while_good_clients_are_served(
    served: Served, start_front: StartFront, photograph: bytes, other: httpx.Client
) -> None:
    for name in ("client_header_timeout", "client_body_timeout"):
        assert 10 <= int(directive(name).removesuffix("s")) <= 15
    front = start_front(served.port, client_header_timeout="3s", client_body_timeout="3s")

    connections = attack(front, 170)
    try:
        at_once = closed(connections, within=0)
        for _ in range(20):
            reply = other.post(f"{front.address}/predict", files={"file": photograph})
            assert reply.status_code == 200, reply.text
        held = psutil.Process(served.process.pid).net_connections("tcp")
        # Many times the three seconds, and less than nginx's own default of sixty.
        later = closed(connections, within=45)
    finally:
        for connection in connections:
            connection.close()
    assert at_once < 255, "they were refused at once, which proves nothing"
    assert at_once + later == 510, "not all were closed"
    assert len(held) < 30, "the attack reached the service"


# Limits ----------------------------------------------------------------------------------------


def head_alone(front: Front, path: str, length: int) -> httpx.Response:
    """The answer to a header that declares a body, of which not a byte is sent; 100 is "go on"."""
    with front.connect() as connection, connection.makefile("rb") as answer:
        connection.sendall(
            f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: multipart/form-data; boundary=B\r\n"
            f"Content-Length: {length}\r\nExpect: 100-continue\r\n\r\n".encode()
        )
        status = int(answer.readline().split()[1])
        lines = iter(answer.readline, b"\r\n")
        headers = dict(line.decode().rstrip().split(": ", 1) for line in lines)
        content = answer.read(int(headers.get("Content-Length", 0)))
    return httpx.Response(status, headers=headers, content=content)


def test_a_body_beyond_the_limit_is_refused_unread_and_in_our_shape(front: Front) -> None:
    message = refused(head_alone(front, "/predict", 15_000_000), 413, "too_large")
    assert f"{MAX_BYTES:,}" in message
    refused(head_alone(front, "/explain", 15_000_000), 413, "too_large")
    message = refused(head_alone(front, "/predict/batch", 95_000_000), 413, "too_large")
    assert "64,000,000" in message
    # Only there are so many bytes waited for.
    assert head_alone(front, "/predict/batch", 64_000_000).status_code == 100
    assert head_alone(front, "/predict", 10_000_000).status_code == 100


def test_the_largest_photograph_passes_in_either_form(front: Front) -> None:
    data = b"\0" * MAX_BYTES
    form = httpx.post(f"{front.address}/predict", files={"file": data}, timeout=60)
    refused(form, 415, "unsupported_format")
    body = {"image": base64.b64encode(data).decode()}
    refused(
        httpx.post(f"{front.address}/predict", json=body, timeout=60), 415, "unsupported_format"
    )


def test_a_batch_of_64_mb_passes_and_each_of_its_photographs_is_answered(
    front: Front, photograph: bytes
) -> None:
    noise = random.Random(0).randbytes(2_060_000)
    files = [("files", (str(number), noise)) for number in range(31)]
    files.insert(5, ("files", ("photo", photograph)))
    assert 63_000_000 < sum(len(data) for _, (_, data) in files) < 64_000_000
    reply = httpx.post(f"{front.address}/predict/batch", files=files, timeout=60)
    assert reply.status_code == 200, reply.text
    results = reply.json()["results"]
    assert [result["success"] for result in results] == [n == 5 for n in range(32)]
    assert {result["error"]["code"] for result in results if not result["success"]} == {
        "unsupported_format"
    }


def test_a_chunked_body_beyond_the_limit_is_refused_on_its_way(front: Front) -> None:
    chunks = (b"\0" * 65536 for _ in range(400))
    kind = {"content-type": "multipart/form-data; boundary=B"}
    reply = httpx.post(f"{front.address}/predict", content=chunks, headers=kind, timeout=60)
    refused(reply, 413, "too_large")


def test_no_upload_touches_the_disk(
    served: Served, start_front: StartFront, tmp_path: Path
) -> None:
    """nginx warns of every body that it puts into a file; the warnings are asked for here."""
    front = start_front(served.port, error_log=f"{tmp_path}/warnings warn")
    files = {"file": random.Random(0).randbytes(9_900_000)}
    reply = httpx.post(f"{front.address}/predict", files=files, timeout=60)
    refused(reply, 415, "unsupported_format")
    parts = [("files", files["file"])] * 6
    assert httpx.post(f"{front.address}/predict/batch", files=parts, timeout=60).is_success
    assert "temporary file" not in (tmp_path / "warnings").read_text()


def test_one_client_over_the_rate_waits_and_the_others_do_not(
    front: Front, other: httpx.Client
) -> None:
    def ask(_: int) -> httpx.Response:
        return client.post(f"{front.address}/predict")

    with httpx.Client(timeout=60) as client, ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(ask, range(120)))
        over = [reply for reply in replies if reply.status_code == 429]
        beside = other.post(f"{front.address}/predict")
        time.sleep(int(over[0].headers["retry-after"]))
        afterwards = client.post(f"{front.address}/predict")
    assert {reply.status_code for reply in replies} == {422, 429}
    assert len(replies) - len(over) >= 41, "fewer than the burst passed"
    assert len(over) >= 20
    for reply in over:
        refused(reply, 429, "too_many_requests")
        assert len(reply.headers.get_list("x-request-id")) == 1
    refused(beside, 422, "missing_file")
    refused(afterwards, 422, "missing_file")


GARBAGE = {
    "no HTTP at all": b"HELO mail\r\n\r\n",
    "a header of 40 KB": b"GET / HTTP/1.1\r\nHost: a\r\nX-A: " + b"a" * 40_000 + b"\r\n\r\n",
    "an address of 40 KB": b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "TRACE": b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    # nginx hands this on as it is; the server behind it answers.
    "an address that is no ASCII": b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n",
}


@pytest.mark.parametrize("what", GARBAGE)
def test_what_is_no_request_is_refused_in_our_shape(front: Front, what: str) -> None:
    with front.connect() as connection:
        connection.sendall(GARBAGE[what])
        head, _, body = connection.recv(65536).partition(b"\r\n\r\n")
    assert 400 <= int(head.split()[1]) < 500
    error = json.loads(body)["error"]
    assert error["code"] in ("bad_request", "method_not_allowed")
    assert f"X-Request-ID: {error['request_id']}" in head.decode()


# Slots of batches -------------------------------------------------------------------------------

HALF_BATCH = HALF_BODY.replace(b"/predict", b"/predict/batch").replace(b"9000000", b"63000000")


def test_one_address_does_not_close_batches_to_the_others(
    front: Front, photograph: bytes, other: httpx.Client
) -> None:
    held = [front.connect("127.0.0.2") for _ in range(6)]
    try:
        for connection in held:
            connection.sendall(HALF_BATCH)
        wait_until(lambda: len(answered(held)) >= 4, "four of them are answered")
        files = [("files", photograph)] * 2
        for path in ("/predict/batch", "/predict/batch/"):
            assert other.post(f"{front.address}{path}", files=files).status_code == 200
        # Its own places are taken, and it is told so; everybody else's are free.
        assert [_status(connection) for connection in answered(held)] == [429] * 4
    finally:
        for connection in held:
            connection.close()


def answered(connections: list[socket.socket]) -> list[socket.socket]:
    return select.select(connections, [], [], 0)[0]


def _status(connection: socket.socket) -> int | None:
    connection.settimeout(0.3)
    try:
        return int(_read(connection).split()[1])
    except TimeoutError:
        return None


def test_a_batch_that_drips_loses_its_place_when_its_time_is_over(
    bundle_folder: Path, start_front: StartFront, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MELANOMA_BODY_SECONDS", "1")
    service = start_service(bundle_folder, tmp_path / "log")
    try:
        front = start_front(service.port)
        with front.connect() as connection:
            connection.sendall(HALF_BATCH)
            status = None
            for _ in range(60):
                connection.sendall(b"a")
                if status := _status(connection):
                    break
            assert status == 408, "a drip holds its place"
    finally:
        service.process.kill()
        service.process.wait()


# A service that is not there, and an end ---------------------------------------------------------


def test_a_service_that_is_down_is_503_with_a_time_to_come_back(start_front: StartFront) -> None:
    front = start_front(free_port())
    for reply in (
        httpx.get(f"{front.address}/"),
        httpx.post(f"{front.address}/predict", files={"file": b"x"}),
    ):
        refused(reply, 503, "unavailable")
        assert int(reply.headers["retry-after"]) >= 1


def test_a_service_that_hangs_is_503_after_the_time_that_is_set(start_front: StartFront) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        front = start_front(mute.getsockname()[1], proxy_read_timeout="1s")
        refused(httpx.get(f"{front.address}/info", timeout=20), 503, "unavailable")


def test_stopped_in_order_both_answer_what_is_in_flight(
    bundle_folder: Path, start_front: StartFront, tmp_path: Path, photograph: bytes
) -> None:
    code = HELD.format(go=str(tmp_path / "go"))
    service = start_service(bundle_folder, tmp_path / "log", python=("-c", code))
    try:
        front = start_front(service.port)
        with ThreadPoolExecutor() as pool:
            asked = [
                pool.submit(
                    httpx.post, f"{front.address}/predict", files={"file": photograph}, timeout=60
                )
                for _ in range(2)
            ]
            wait_for_queue(service, 2)
            front.quit()
            service.process.send_signal(signal.SIGTERM)
            wait_until(lambda: not front.listens(), "nginx takes no more connections")
            assert not any(future.done() for future in asked)
            (tmp_path / "go").touch()
            replies = [future.result() for future in asked]
        assert [reply.status_code for reply in replies] == [200, 200]
        assert front.process.wait(timeout=20) == 0
        assert service.process.wait(timeout=20) == 0
    finally:
        service.process.kill()
        service.process.wait()


# Load ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["direct", "through nginx"])
def test_twenty_at_once_are_all_scored_while_the_service_says_that_it_lives(
    served: Served, start_front: StartFront, photograph: bytes, other: httpx.Client, way: str
) -> None:
    address = served.address if way == "direct" else start_front(served.port).address
    start = threading.Barrier(21)

    def score(_: int) -> Any:
        start.wait()
        return httpx.post(f"{address}/predict", files={"file": photograph}, timeout=60)

    with ThreadPoolExecutor(20) as pool:
        scores = [pool.submit(score, number) for number in range(20)]
        start.wait()
        health = 0
        while not all(future.done() for future in scores):
            assert other.get(f"{address}/healthz").status_code == 200
            health += 1
        replies = [future.result() for future in scores]
    assert [reply.status_code for reply in replies] == [200] * 20
    answers = [reply.json()["melanoma_probability"] for reply in replies]
    assert answers == pytest.approx([answers[0]] * 20, abs=1e-5)
    assert len({reply.headers["x-request-id"] for reply in replies}) == 20
    assert health > 1


def test_a_stopped_front_leaves_no_worker_behind(start_front: StartFront) -> None:
    front = start_front(free_port())
    workers = psutil.Process(front.process.pid).children()
    assert workers
    front.stop()
    assert not any(worker.is_running() for worker in workers)
    assert not front.listens()
