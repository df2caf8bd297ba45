"""The service as a process: what only a real server and real signals can show."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import forked
import httpx
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_service import (
    HELD,
    Served,
    refused,
    run_command,
    start_service,
    wait_for_queue,
    wait_until,
)

import api.app
from melanoma import serve
from melanoma.storage import sha256_of

HELD_UVICORN = HELD.replace(
    "terminal.run(serve.app)",
    """
import os, sys, uvicorn
os.environ["MELANOMA_WEIGHTS"] = sys.argv[2]
sys.argv = ["uvicorn", "api.app:app", "--port", "0"]
uvicorn.main()
""",
)


def read_reply(connection: socket.socket) -> tuple[int, dict]:
    received = b""
    while b"\r\n\r\n" not in received:
        received += connection.recv(65536)
    head, _, body = received.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].split()[0])
    while len(body) < length:
        body += connection.recv(65536)
    return int(head.split()[1]), json.loads(body)


def test_a_served_request_over_the_wire(service: Served, photograph, scorer):
    files = {"file": photograph}
    reply = httpx.post(f"{service.address}/predict", files=files, timeout=60)
    ours = scorer.score(photograph).melanoma_probability
    assert reply.json()["melanoma_probability"] == pytest.approx(ours, abs=1e-5)

    with service.socket() as connection:  # a length that is never sent
        connection.sendall(
            b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 999999999999\r\n"
            b"Content-Type: multipart/form-data; boundary=B\r\n\r\n--B"
        )
        status, body = read_reply(connection)
        assert (status, body["error"]["code"]) == (413, "too_large")

    with service.socket() as connection:  # chunks that never end
        connection.sendall(
            b"POST /predict HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
            b"Content-Type: multipart/form-data; boundary=B\r\n\r\n"
        )
        connection.sendall(_chunk(b'--B\r\nContent-Disposition: form-data; name="file"; '))
        connection.sendall(_chunk(b'filename="f"\r\n\r\n'))
        for _ in range(101):
            connection.sendall(_chunk(b"\0" * 100_000))
        status, body = read_reply(connection)
        assert (status, body["error"]["code"]) == (413, "too_large")

    with service.socket() as connection:  # a chunk a byte: the loop looks at each of them
        connection.sendall(
            b"POST /predict HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
            b"Content-Type: multipart/form-data; boundary=B\r\n\r\n"
        )
        connection.sendall(_chunk(b'--B\r\nContent-Disposition: form-data; name="file"; '))
        connection.sendall(_chunk(b'filename="f"\r\n\r\n'))
        with suppress(ConnectionError):
            for _ in range(100):
                connection.sendall(_chunk(b"\0") * 2_000)
        status, body = read_reply(connection)
        assert (status, body["error"]["code"]) == (400, "bad_request")

    with service.socket() as connection:  # as no client library would send it
        connection.sendall(b"GET /static/../app.py HTTP/1.1\r\nHost: a\r\n\r\n")
        status, body = read_reply(connection)
        assert (status, body["error"]["code"]) == (404, "not_found")

    taken = run_command(
        "melanoma.serve", "--weights", "nowhere", "--port", str(service.port), timeout=60
    )
    assert taken.returncode == 6
    assert taken.stderr.count("\n") == 1
    assert str(service.port) in taken.stderr

    service.process.send_signal(signal.SIGINT)
    assert service.process.wait(timeout=20) in (0, 130)


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n" % len(data) + data + b"\r\n"


@pytest.fixture
def start(bundle_folder: Path, tmp_path: Path) -> Iterator[Callable[[str], Served]]:
    """Starts a service by a script, its log in the test's folder; `go` lets held scores go."""
    started: list[Served] = []

    def by(script: str) -> Served:
        code = script.format(go=str(tmp_path / "go"))
        served = start_service(bundle_folder, tmp_path / "log", python=("-c", code))
        started.append(served)
        return served

    yield by
    for served in started:
        served.process.kill()
        served.process.wait()


def ask(service: Served, photograph: bytes, replies: list[httpx.Response]) -> threading.Thread:
    """A caller in a thread, whose reply is added if it comes."""

    def post() -> None:
        files = {"file": photograph}
        with contextlib.suppress(httpx.RemoteProtocolError):  # it ended without a reply
            replies.append(httpx.post(f"{service.address}/predict", files=files, timeout=60))

    thread = threading.Thread(target=post)
    thread.start()
    return thread


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True


# melanoma.serve ends cleanly; uvicorn lets the signal end it, which a shell shows as 143.
ENDINGS = {"serve": (HELD, 0), "uvicorn": (HELD_UVICORN, -signal.SIGTERM)}


@pytest.mark.parametrize("door", ENDINGS)
def test_sigterm_answers_what_is_in_flight_and_ends_cleanly(start, photograph, tmp_path, door):
    script, code = ENDINGS[door]
    service, replies = start(script), []
    threads = [ask(service, photograph, replies) for _ in range(2)]
    wait_for_queue(service, 2)
    service.process.terminate()
    wait_until(lambda: not listens(service.port), "it takes no more connections")
    assert replies == []
    (tmp_path / "go").touch()
    for thread in threads:
        thread.join(timeout=60)
    assert [reply.status_code for reply in replies] == [200, 200]
    assert service.process.wait(timeout=60) == code
    assert "Traceback" not in (tmp_path / "log").read_text()


STUCK = HELD.replace("terminal.run", "serve.GRACE_SECONDS = 1\nterminal.run")


def test_a_score_that_never_ends_does_not_keep_the_process(start, photograph, tmp_path):
    """`docker stop` kills after ten seconds; within eight the service has gone by itself."""
    assert serve.GRACE_SECONDS + serve.LAST_SECONDS <= 8
    service = start(STUCK)
    thread = ask(service, photograph, [])
    wait_for_queue(service, 1)
    service.process.terminate()
    assert service.process.wait(timeout=60) == 0, (tmp_path / "log").read_text()
    thread.join(timeout=60)


# What torch and OpenVINO hold is taken apart when Python ends, where no timer runs any more.
SLOW_END = """
import os, signal, time
from melanoma import serve
class Slow:
    def __del__(self):
        time.sleep(600)
slow = Slow()
signal.signal(signal.SIGTERM, serve._end)
print("said before")
os.kill(os.getpid(), signal.SIGTERM)
time.sleep(600)
"""


def test_the_end_of_python_itself_is_not_waited_for():
    ended = subprocess.run([sys.executable, "-c", SLOW_END], capture_output=True, timeout=60)
    assert (ended.returncode, ended.stdout) == (0, b"said before\n")


RACED = """
import socket
from melanoma import serve, terminal
run = serve._run
def raced(served, listener, what, *, grace):
    other = socket.socket()
    other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    other.bind(listener.getsockname())
    other.listen()
    run(served, listener, what, grace=grace)
serve._run = raced
terminal.run(serve.app)
"""


def test_two_services_that_start_on_one_port_at_once_are_one_line_and_exit_6(bundle_folder):
    arguments = ["-c", RACED, "--weights", str(bundle_folder), "--port", "0"]
    ended = forked.run(*arguments, timeout=120)
    assert ended.returncode == 6, ended.stderr
    (line,) = ended.stderr.splitlines()
    assert "already in use" in line
    assert "--port" in line


def test_what_is_no_request_is_refused_in_the_one_shape(service: Served):
    for garbage in (b"HELO mail\r\n\r\n", b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n"):
        with service.socket() as connection:
            connection.sendall(garbage)
            status, body = read_reply(connection)
        assert (status, body["error"]["code"]) == (400, "bad_request")


CHUNKED = b"POST /%s HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n%s\r\n"
BY_CHUNKS = b"Transfer-Encoding: chunked\r\n"


@pytest.mark.parametrize("path", [b"predict", b"predict?model=nobody", b"info"])
def test_a_body_that_turns_out_to_be_none_costs_the_log_no_traceback(
    service: Served, tmp_path: Path, path: bytes
) -> None:
    said = {True: {400}, False: {400, 404, 405}}  # an answer that has begun is that
    for at_once, statuses in said.items():
        with service.socket() as connection:
            connection.sendall(CHUNKED % (path, BY_CHUNKS) + b"zz\r\n" * at_once)
            if not at_once:
                with suppress(TimeoutError):  # until the answer has begun, where one does
                    connection.settimeout(0.5)
                    connection.recv(1, socket.MSG_PEEK)
                connection.settimeout(20)
                connection.sendall(b"zz\r\n")
            status, _ = read_reply(connection)
        assert status in statuses
    assert httpx.get(f"{service.address}/healthz", timeout=60).status_code == 200
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_beyond_the_queue_a_busy_service_refuses_at_once_and_stays_healthy(
    start, photograph, monkeypatch, tmp_path
):
    monkeypatch.setenv("MELANOMA_QUEUE", "2")
    service = start(HELD)
    replies: list[httpx.Response] = []
    threads = [ask(service, photograph, replies) for _ in range(9)]
    # No score is given yet: whoever is answered is refused, and waited for none.
    wait_until(lambda: len(replies) == 6, "all beyond the queue are refused")
    assert httpx.get(f"{service.address}/healthz", timeout=60).status_code == 200
    for reply in replies:
        refused(reply, 503, "busy")
        assert int(reply.headers["retry-after"]) >= 1
    (tmp_path / "go").touch()
    for thread in threads:
        thread.join(timeout=60)
    assert [reply.status_code for reply in replies[6:]] == [200] * 3


COMMANDS = {
    "serve": ("melanoma.serve", "--port", "0", "--weights"),
    "uvicorn": ("uvicorn", "api.app:app", "--port", "0"),
}


@pytest.mark.parametrize("door", COMMANDS)
def test_damaged_weights_are_never_served(damaged_bundle: Path, bundle_folder, door):
    weights = damaged_bundle / "fold_1" / "model.safetensors"
    arguments = [*COMMANDS[door], *([str(damaged_bundle)] if door == "serve" else [])]
    ended = run_command(*arguments, MELANOMA_WEIGHTS=str(damaged_bundle))
    assert ended.returncode == 5, ended.stderr
    lines = [line for line in ended.stderr.splitlines() if not line.startswith("INFO:")]
    assert len(lines) == 1, ended.stderr
    assert str(weights) in lines[0]
    assert sha256_of(weights) in lines[0]
    assert sha256_of(bundle_folder / "fold_1" / "model.safetensors") in lines[0]


def _reseal(folder: Path, weights: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["sha256"]["fold_1/model.safetensors"] = sha256_of(weights)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def _make_nan(folder: Path) -> None:
    weights = folder / "fold_1" / "model.safetensors"
    tensors = load_file(weights)
    name = next(name for name, tensor in tensors.items() if tensor.is_floating_point())
    tensors[name] = torch.full_like(tensors[name], float("nan"))
    save_file(tensors, weights)
    _reseal(folder, weights)


def _make_other(folder: Path) -> None:
    weights = folder / "fold_1" / "model.safetensors"
    save_file({"a": torch.zeros(3)}, weights)
    _reseal(folder, weights)


SPOILED = {
    "nothing there": (lambda folder: shutil.rmtree(folder), "manifest.json"),
    "a member gone": (lambda folder: shutil.rmtree(folder / "fold_1"), "fold_1"),
    "weights not finite": (_make_nan, "not finite"),
    "weights of another network": (_make_other, "tiny_resnet"),
    "a manifest cut off": (
        lambda folder: (folder / "manifest.json").write_text('{"format":'),
        "manifest.json",
    ),
}


@pytest.mark.parametrize("what", SPOILED)
def test_a_bundle_that_cannot_serve_is_one_line_and_exit_5(
    bundle_folder, tmp_path, monkeypatch, capsys, what
):
    spoil, word = SPOILED[what]
    folder = tmp_path / "bundle"
    shutil.copytree(bundle_folder, folder)
    spoil(folder)
    monkeypatch.setenv("MELANOMA_WEIGHTS", str(folder))
    with pytest.raises(SystemExit) as ended:
        api.app.create_app_from_environment()
    assert ended.value.code == 5
    line = capsys.readouterr().err
    assert line.startswith("error: ")
    assert line.count("\n") == 1
    assert word in line


def test_the_module_gives_an_app_from_the_environment_once(bundle_folder, monkeypatch):
    monkeypatch.setenv("MELANOMA_WEIGHTS", str(bundle_folder))
    monkeypatch.delitem(vars(api.app), "app", raising=False)
    assert list(api.app.app.state.service.scorers) == ["tiny"]
    assert api.app.app is api.app.app
    del vars(api.app)["app"]
    with pytest.raises(AttributeError):
        _ = api.app.nothing


def test_a_host_that_does_not_exist_is_a_usage_error():
    ended = run_command("melanoma.serve", "--weights", "nowhere", "--host", "no.such.invalid")
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1


def test_a_service_waits_for_nothing_that_it_does_not_need():
    code = (
        "import sys, api.app; "
        "slow = {'torch', 'pandas', 'matplotlib', 'sklearn', 'skimage.segmentation._quickshift'}; "
        "assert not slow & set(sys.modules), slow & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


HASHING = """
from melanoma import serve, terminal
from melanoma.scoring.bundle import manifest
digest = manifest.sha256_of
def counted(path):
    with open({hashed!r}, "a") as file:
        file.write(f"{{{{path.relative_to(path.parents[1])}}}}\\n")
    return digest(path)
manifest.sha256_of = counted
terminal.run(serve.app)
"""


def test_every_file_of_a_bundle_is_hashed_once_at_the_start(start, bundle_folder, tmp_path):
    start(HASHING.format(hashed=str(tmp_path / "hashed")))
    hashed = (tmp_path / "hashed").read_text().splitlines()
    manifest = json.loads((bundle_folder / "manifest.json").read_text())
    assert len(hashed) == len(manifest["sha256"])
    assert len(set(hashed)) == len(hashed)
