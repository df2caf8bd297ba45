"""predict --url: what a service answers, printed and written as a local run does it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tiny_service import ROOT, Served, encode, start_service

from melanoma.data.images import MAX_BYTES
from melanoma.errors import RecipeError, ServiceError
from melanoma.scoring.files.score_rows import COLUMNS
from melanoma.scoring.files.service_client import RemoteScorer

pytestmark = pytest.mark.slow  # it trains, serves or reads photographs

Door = Callable[..., Any]
TOKEN = "s3cret"
RECIPE = ("--config", ROOT / "configs/demo.yaml", "--device", "cpu")


@pytest.fixture(scope="module")
def served(bundle_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with pytest.MonkeyPatch.context() as patch:
        # An explanation gives way to whatever else this machine does; here it is waited for.
        patch.setenv("MELANOMA_LIME_SECONDS", "600")
        patch.setenv("MELANOMA_TOKEN", TOKEN)  # the client's as well
        found = start_service(bundle_folder, tmp_path_factory.mktemp("served") / "log")
        yield found
    found.process.kill()
    found.process.wait()


@pytest.fixture(scope="module")
def folder(bundle_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty photographs, more than are sent at once, and what no service takes."""
    folder = tmp_path_factory.mktemp("photographs")
    for file in sorted((bundle_folder.parent / "data" / "jpeg").rglob("*.jpg"))[:20]:
        shutil.copy(file, folder)
    (folder / "broken.jpg").write_bytes(b"no image")
    (folder / "empty.png").write_bytes(b"")
    (folder / "large.png").write_bytes(b"\0" * (MAX_BYTES + 1))
    (folder / "strip.png").write_bytes(encode(Image.new("RGB", (16, 400))))
    Image.fromarray(np.full((40, 40, 3), 255, np.uint8)).save(folder / "white.webp")
    return folder


@pytest.fixture
def one(folder: Path) -> Path:
    return next(file for file in sorted(folder.iterdir()) if file.name.startswith("PH"))


def test_a_service_gives_the_table_of_a_local_run(
    served: Served, bundle_folder: Path, folder: Path, call_door: Door
) -> None:
    local = call_door("predict", folder, *RECIPE, "--weights", bundle_folder, "--out", "a.csv")
    remote = call_door("predict", folder, "--url", served.address, "--out", "b.csv")
    assert (local.code, remote.code) == (3, 3)  # four of them have no score
    ours, theirs = pd.read_csv("a.csv"), pd.read_csv("b.csv")
    assert len(ours) == 25
    assert tuple(ours.columns) == tuple(theirs.columns)
    assert ours["error"].notna().sum() == 4
    numbers = ["melanoma_probability", "threshold", "probability"]
    same = [name for name in ours.columns if name not in (*numbers, "by_fold")]
    pd.testing.assert_frame_equal(ours[same], theirs[same])
    np.testing.assert_allclose(ours[numbers], theirs[numbers], atol=1e-5, rtol=0)
    assert ours["melanoma_probability"].std() > 1e-3
    for first, second in zip(ours["by_fold"].dropna(), theirs["by_fold"].dropna(), strict=True):
        assert json.loads(first) == pytest.approx(json.loads(second), abs=1e-5)
    assert not list(Path().glob("*.journal"))
    assert local.err.splitlines()[-1] == remote.err.splitlines()[-1]


@pytest.mark.parametrize("options", [(), ("--top", "2"), ("--json",)])
def test_one_image_is_said_alike_with_a_service_and_without(
    served: Served, bundle_folder: Path, one: Path, call_door: Door, options: tuple[str, ...]
) -> None:
    local = call_door("predict", one, *RECIPE, "--weights", bundle_folder, *options)
    remote = call_door("predict", one, "--url", served.address, *options)
    assert (local.code, remote.code) == (0, 0), local.err + remote.err
    if options == ("--json",):
        (ours,), (theirs,) = json.loads(local.out), json.loads(remote.out)
        assert tuple(theirs) == COLUMNS
        assert theirs["melanoma_probability"] == pytest.approx(
            ours["melanoma_probability"], abs=1e-5
        )
        return
    assert remote.out == local.out
    lines = remote.out.splitlines()
    table = pd.read_csv("scores.csv")
    assert f"prediction: {table['prediction'][0]} - {table['probability'][0]:.1%}" in lines
    said = f"melanoma {table['melanoma_probability'][0]:.1%}, "
    assert sum(line.startswith(said) for line in lines) == 1
    assert table["frequency"][0].rstrip(".") in lines
    assert f"it may be: {table['set'][0].replace('; ', ', ')}" in lines
    reached, calibrated, disclaimer, unchecked = lines[-4:]
    assert reached.startswith(f"threshold {table['threshold'][0]:.1%} (sensitivity 0.95): ")
    assert f"sensitivity {table['sensitivity'][0]:.1%} (95 % interval " in reached
    assert calibrated.endswith(f"where {table['prevalence'][0]:.2%} of the images are melanomas")
    assert disclaimer == table["disclaimer"][0]
    assert unchecked.endswith("this bundle has no novelty score")


def test_a_threshold_is_asked_of_the_service_as_of_a_bundle(
    served: Served, bundle_folder: Path, one: Path, call_door: Door
) -> None:
    asked = [one, "--threshold", "0.03", "--json"]
    local = call_door("predict", *asked, *RECIPE, "--weights", bundle_folder)
    remote = call_door("predict", *asked, "--url", served.address)
    assert (local.code, remote.code) == (0, 0), local.err + remote.err
    (ours,), (theirs,) = json.loads(local.out), json.loads(remote.out)
    for name in ("flagged", "threshold", "threshold_at", "sensitivity", "specificity"):
        assert theirs[name] == ours[name]
    assert (ours["threshold"], ours["threshold_at"]) == (0.03, "asked for")


def test_a_prevalence_is_asked_of_the_service_as_of_a_bundle(
    served: Served, bundle_folder: Path, one: Path, call_door: Door
) -> None:
    asked = [one, "--prevalence", "0.02", "--json"]
    local = call_door("predict", *asked, *RECIPE, "--weights", bundle_folder)
    remote = call_door("predict", *asked, "--url", served.address)
    plain = call_door("predict", one, "--json", *RECIPE, "--weights", bundle_folder)
    assert (local.code, remote.code) == (0, 0), local.err + remote.err
    (ours,), (theirs,), (own,) = (json.loads(call.out) for call in (local, remote, plain))
    for name in ("flagged", "verdict", "prevalence", "set"):
        assert theirs[name] == ours[name]
    assert ours["prevalence"] == 0.02 and "where 20 in 1,000 are" in ours["frequency"]
    assert (ours["flagged"], ours["verdict"]) == (own["flagged"], own["verdict"])
    assert ours["melanoma_probability"] < own["melanoma_probability"]
    refused = call_door("predict", one, "--prevalence", "2", *RECIPE, "--weights", bundle_folder)
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "--prevalence 2.0: a share from 0.000001 to 0.999999" in refused.err


def test_a_service_that_ignores_the_prevalence_is_not_believed(one: Path, call_door: Door) -> None:
    with speaking([GOOD]) as (address, _):
        answer = call_door("predict", one, "--url", address, "--prevalence", "0.3")
    assert answer.code == 5
    assert "does not move to another prevalence" in answer.err


def test_a_service_that_ignores_the_threshold_is_not_believed(one: Path, call_door: Door) -> None:
    with speaking([GOOD]) as (address, _):
        answer = call_door("predict", one, "--url", address, "--threshold", "0.3")
    assert answer.code == 5
    assert "flags by its own threshold" in answer.err


def test_of_several_images_each_line_names_its_file(
    served: Served, folder: Path, one: Path, call_door: Door
) -> None:
    answer = call_door("predict", one, folder / "white.webp", "--url", served.address)
    first, second, *common = answer.out.splitlines()
    assert len(common) == 4, "what holds for both is said once"
    assert first.startswith(f"{one.stem}: prediction: ")
    assert second.startswith("white: warning: low_information; prediction: ")
    assert served.address in answer.err


def test_a_file_above_the_uploads_limit_is_scored_here_and_not_sent(
    served: Served, one: Path, bundle_folder: Path, call_door: Door, tmp_path: Path
) -> None:
    large = tmp_path / "large.png"
    with Image.open(one) as image:
        image.save(large)
    with large.open("ab") as file:
        file.write(bytes(MAX_BYTES))
    local = call_door("predict", large, *RECIPE, "--weights", bundle_folder)
    assert local.code == 0, local.err
    remote = call_door("predict", large, "--url", served.address)
    assert remote.code == 3
    assert f"too_large: the file has {large.stat().st_size:,} bytes" in remote.out


def test_a_refused_image_is_the_services_sentence_and_exit_3(
    served: Served, folder: Path, bundle_folder: Path, call_door: Door
) -> None:
    for name, code in {"broken.jpg": "unsupported_format", "strip.png": "bad_aspect"}.items():
        remote = call_door("predict", folder / name, "--url", served.address)
        local = call_door("predict", folder / name, *RECIPE, "--weights", bundle_folder)
        assert (remote.code, local.code) == (3, 3)
        assert remote.out == local.out
        assert remote.out.startswith(f"error: {code}: ")
    assert call_door(
        "predict", folder / "broken.jpg", "--url", served.address, "--allow-errors"
    ).code == 0  # fmt: skip


def explained(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB")).astype(int)


def test_one_explained_image_gives_its_picture_with_a_service_and_without(
    served: Served, bundle_folder: Path, one: Path, call_door: Door
) -> None:
    asked = ("predict", one, "--explain", "--precision", "Low", "--out")
    local = call_door(*asked, "a.png", *RECIPE, "--weights", bundle_folder)
    remote = call_door(*asked, "b.png", "--url", served.address)
    assert (local.code, remote.code) == (0, 0), local.err + remote.err
    assert local.out == remote.out
    assert remote.out.splitlines()[0].startswith("prediction: ")
    assert "wrote b.png" in remote.err
    first, second = explained(Path("a.png")), explained(Path("b.png"))
    assert first.shape == second.shape
    # Seeded alike, but for the last bits of weights that were multiplied on several threads.
    assert (np.abs(first - second).max(axis=2) > 8).mean() < 0.02
    blue = np.abs(second - (0, 114, 178)).max(axis=2) < 8
    assert blue.any(), "LIME's legend has a blue"
    assert not list(Path().glob("*.csv*"))


def test_explained_images_have_their_pictures_beside_the_table(
    served: Served, folder: Path, one: Path, call_door: Door
) -> None:
    answer = call_door(
        "predict", one, folder / "broken.jpg", "--url", served.address, "--allow-errors",
        "--explain", "--precision", "Low", "--out", "out/scores.csv",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    pictures = pd.read_csv("out/scores.csv")["picture"]
    assert pictures.tolist()[0] == f"out/{one.stem}_lime.png"
    assert pictures.isna().tolist() == [False, True]
    assert len(explained(Path(pictures[0])))


def test_a_service_with_a_token_is_asked_with_it(
    served: Served, one: Path, call_door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert call_door("predict", one, "--url", served.address).code == 0
    monkeypatch.delenv("MELANOMA_TOKEN")
    for options in ([], ["--token", "other"]):
        answer = call_door("predict", one, "--url", served.address, *options)
        assert (answer.code, answer.err.count("\n")) == (2, 1)
        assert "--token, or MELANOMA_TOKEN" in answer.err
    assert call_door("predict", one, "--url", served.address, "--token", TOKEN).code == 0


def test_a_submission_is_filled_by_a_service(served: Served, one: Path, call_door: Door) -> None:
    Path("sample.csv").write_text(f"image_name,target\n{one.stem},0\n")
    answer = call_door("predict", one, "--url", served.address, "--submission", "sample.csv")
    assert answer.code == 0, answer.err
    (target,) = pd.read_csv("submission.csv")["target"]
    assert target == pytest.approx(
        RemoteScorer(served.address, token=TOKEN).answer([one.read_bytes()])[0][
            "melanoma_probability"
        ]
    )


def test_torch_is_not_imported_to_ask_a_service(served: Served, one: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from melanoma import predict, terminal; "
        f"sys.argv = ['predict', {str(one)!r}, '--url', {served.address!r}, '--top', '1']\n"
        "terminal.run(predict.app)\n"
        "assert 'pandas' in sys.modules\n"
        "assert not {'torch', 'httpx', 'fastapi', 'api'} & set(sys.modules)"
    )
    subprocess.run(
        [sys.executable, "-c", code], check=True, timeout=60, cwd=tmp_path, capture_output=True
    )


MEANINGLESS = {
    "--weights with a service": (["--url", "http://a", "--weights", "w"], "--weights"),
    "--views with a service": (["--url", "http://a", "--views", "8"], "--views"),
    "--device with a service": (["--url", "http://a", "--device", "cpu"], "--device"),
    "--config with a service": (["--url", "http://a", "--config", "c.yaml"], "--config"),
    "--set with a service": (["--url", "http://a", "--set", "seed=1"], "--set"),
    "--model without": (["--model", "tiny"], "--model"),
    "--token without": (["--token", "tiny"], "--token"),
    "no address": (["--url", "127.0.0.1:8000"], "http://127.0.0.1:8000"),
    "another scheme": (["--url", "file:///etc/passwd"], "http://127.0.0.1:8000"),
    "a bad port": (["--url", "http://a:99999"], "http://127.0.0.1:8000"),
    "a query": (["--url", "http://a/?x=1"], "http://127.0.0.1:8000"),
    "an empty token": (["--url", "http://a", "--token", ""], "--token"),
    "a token of two lines": (["--url", "http://a", "--token", "a\nb"], "--token"),
    "a picture without --explain": (["--url", "http://a", "--out", "a.png"], "--explain"),
}


@pytest.mark.parametrize("what", MEANINGLESS)
def test_a_command_line_that_cannot_be_meant_is_one_line_and_exit_2(
    one: Path, call_door: Door, what: str
) -> None:
    options, word = MEANINGLESS[what]
    answer = call_door("predict", one, *options)
    assert answer.code == 2
    assert word in answer.err
    assert answer.err.count("\n") == 1
    assert not list(Path().glob("*.csv*"))


def test_one_picture_is_not_written_for_two_images(one: Path, folder: Path, call_door: Door):
    answer = call_door(
        "predict", one, folder / "white.webp", "--url", "http://a", "--explain", "--out", "a.png"
    )
    assert (answer.code, answer.err.count("\n")) == (2, 1)


def test_an_unknown_model_is_exit_2_and_names_the_known(
    served: Served, one: Path, call_door: Door
) -> None:
    answer = call_door("predict", one, "--url", served.address, "--model", "nobody")
    assert (answer.code, answer.err.count("\n")) == (2, 1)
    assert "serves tiny" in answer.err
    assert call_door("predict", one, "--url", served.address, "--model", "tiny").code == 0


def test_nobody_at_the_address_is_one_line_and_exit_5(
    one: Path, call_door: Door, unused_port: int
) -> None:
    answer = call_door("predict", one, "--url", f"http://127.0.0.1:{unused_port}")
    assert answer.code == 5
    assert answer.err == (
        f"error: no answer from http://127.0.0.1:{unused_port}: Connection refused\n"
    )


@pytest.fixture
def unused_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# What a working service gives only in rare moments, from a server that is told what to say.
Script = list[tuple[int, dict[str, str], bytes]]
INFO = json.dumps(
    {"models": [{"name": "tiny", "digest": "d" * 64, "views": 1, "melanoma": ["melanoma"]}]}
).encode()
ANSWER = {
    **dict.fromkeys(("melanoma_probability", "flagged", "threshold")),
    "prediction": "nevus",
    "probability": 0.942,
    "by_class": {"nevus": 0.942},
    "by_fold": [0.942],
    "warnings": [],
    "model": {"digest": "d" * 64},
}


@contextmanager
def speaking(posts: Script, info: bytes = INFO, status: int = 200) -> Iterator[tuple[str, list]]:
    """A server that answers GET with `info` and each POST with the next of `posts`."""
    seen: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.reply(status, {}, info)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            seen.append((self.path, self.headers, body))
            self.reply(*posts[min(len(seen), len(posts)) - 1])

        def reply(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", seen
        server.shutdown()


def said(code: str) -> bytes:
    error = {"code": code, "message": "A sentence.", "request_id": "1f"}
    return json.dumps({"success": False, "error": error}).encode()


GOOD = (200, {}, json.dumps(ANSWER).encode())


def test_a_busy_service_is_asked_again_when_it_says(
    one: Path, call_door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("melanoma.scoring.files.service_client.time.sleep", waits.append)
    busy: Script = [
        (503, {"Retry-After": "3"}, said("busy")),
        (429, {"Retry-After": "2"}, said("too_many_requests")),
        (503, {}, said("busy")),
    ]
    with speaking([*busy, GOOD]) as (address, seen):
        answer = call_door("predict", one, "--url", address)
    assert (answer.code, len(seen)) == (0, 4), answer.err
    assert waits == [3, 2, 1]
    assert answer.out.startswith("prediction: nevus - 94.2%\n")


def test_a_service_that_stays_busy_ends_the_run_with_its_sentence(
    one: Path, call_door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("melanoma.scoring.files.service_client.time.sleep", lambda _: None)
    with speaking([(503, {"Retry-After": "1"}, said("busy"))]) as (address, seen):
        answer = call_door("predict", one, "--url", address)
    assert answer.code == 5
    assert len(seen) == 20
    assert answer.err == f"error: {address} answers 503 busy: A sentence. (request 1f)\n"
    with speaking([(503, {"Retry-After": "3600"}, said("busy"))]) as (address, seen):
        assert call_door("predict", one, "--url", address).code == 5
    assert len(seen) == 1, "an hour is not waited for"


ENDS: dict[str, tuple[tuple[int, dict[str, str], bytes], int, str]] = {
    "a fault of the service": ((500, {}, said("internal")), 5, "500 internal: A sentence."),
    "a token that is not right": ((401, {}, said("unauthorized")), 2, "MELANOMA_TOKEN"),
    "a redirect": ((302, {"Location": "http://b"}, b""), 2, "it redirects to http://b"),
    "another program": ((502, {}, b"<html>"), 5, "is a melanoma service there?"),
    "half an answer": ((200, {}, b'{"success": true}'), 5, "answers without"),
    "other weights": (
        (200, {}, json.dumps({**ANSWER, "model": {"digest": "e" * 64}}).encode()),
        5,
        "changed its weights from dddddddddddd to eeeeeeeeeeee",
    ),
}


@pytest.mark.parametrize("what", ENDS)
def test_what_is_no_score_ends_the_run_in_one_line(one: Path, call_door: Door, what: str) -> None:
    reply, code, words = ENDS[what]
    with speaking([reply]) as (address, seen):
        answer = call_door("predict", one, "--url", address)
    assert (answer.code, len(seen)) == (code, 1)
    assert words in answer.err
    assert answer.err.count("\n") == 1
    assert not Path("scores.csv").exists()


def test_what_answers_as_no_service_is_not_sent_a_photograph(one: Path) -> None:
    for info in (b"<html>", b"{}", b'{"models": []}', b'{"models": [{"name": "a"}]}', b"[]"):
        with speaking([], info) as (address, seen), pytest.raises(ServiceError, match="service"):
            RemoteScorer(address)
        assert not seen
    with speaking([], said("unauthorized"), 401) as (address, _), pytest.raises(RecipeError):
        RemoteScorer(address)


def test_the_token_is_sent_and_the_files_name_is_not(
    one: Path, call_door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    for options, environment in ((["--token", "s3cret"], ""), ([], "s3cret")):
        monkeypatch.setenv("MELANOMA_TOKEN", environment)
        with speaking([GOOD]) as (address, seen):
            assert call_door("predict", one, "--url", address, *options).code == 0
        ((path, headers, body),) = seen
        assert path == "/predict?model=tiny"
        assert headers["Authorization"] == "Bearer s3cret"
        assert one.stem.encode() not in body
        assert one.read_bytes() in body


def test_a_run_that_was_cut_off_goes_on_where_it_was(folder: Path, call_door: Door) -> None:
    fault = (500, {}, said("internal"))
    with speaking([*[GOOD] * 18, fault]) as (address, _):
        assert call_door("predict", folder, "--url", address, "--out", "a.csv").code == 5
    assert Path("a.csv.journal").exists()
    with speaking([GOOD]) as (address, seen):
        call_door("predict", folder, "--url", address, "--out", "a.csv", "--allow-errors")
    # What came before the fault is kept, of its own batch too; `large.png` is never sent.
    assert len(seen) == 25 - 18 - 1
    assert len(pd.read_csv("a.csv")) == 25


def test_results_of_another_training_are_told_as_that() -> None:
    reached = {"value": 0.8, "low": 0.7, "high": 0.9}
    result = {"name": "siim", "images": 9, "auroc": reached, "sensitivity": reached}
    told = json.loads(INFO)
    told["models"][0]["external"] = [{**result, "without": "siim and its teacher"}, result]
    with speaking([], json.dumps(told).encode()) as (address, _):
        found = RemoteScorer(address).elsewhere
    assert [one["without"] for one in found] == ["siim and its teacher", None]
