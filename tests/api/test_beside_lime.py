"""LIME beside everything else: what one caller asks for breaks nobody else's answer."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from tiny_service import Served, start_service

# Superpixels are looked for in a sixteenth of the pixels: of LIME's time its scores are more then.
FEW = """
from melanoma import serve, terminal
from melanoma.scoring.explain import lime
lime.LONGEST_SIDE = 64
terminal.run(serve.app)
"""


@pytest.fixture
def service(bundle_folder: Path, tmp_path: Path) -> Iterator[Served]:
    served = start_service(bundle_folder, tmp_path / "log", python=("-c", FEW))
    yield served
    served.process.kill()
    served.process.wait()


def test_scores_batches_and_heat_maps_beside_lime_never_fail(
    service: Served, photograph: bytes
) -> None:
    ended, found = threading.Event(), Counter[tuple[str, int | str]]()
    file = ("photo", photograph)

    def ask(what: str, path: str, files: object, data: dict[str, str]) -> None:
        reply = httpx.post(f"{service.address}{path}", files=files, data=data, timeout=60)
        found[what, reply.status_code] += 1
        for item in reply.json().get("results", []):
            found["item", "scored" if item["success"] else item["error"]["code"]] += 1

    def until_ended(*question: object) -> Callable[[], None]:
        def work() -> None:
            while not ended.is_set():
                ask(*question)  # type: ignore[arg-type]

        return work

    one, many = {"file": file}, [("files", file)] * 4
    threads = [
        threading.Thread(target=until_ended(*question))
        for question in (
            ("score", "/predict", one, {}),
            ("score", "/predict", one, {}),
            ("heat", "/explain", one, {}),
            ("batch", "/predict/batch", many, {}),
        )
    ]
    for thread in threads:
        thread.start()
    for _ in range(2):
        ask("lime", "/explain", one, {"method": "lime", "precision": "Low"})
    ended.set()
    for thread in threads:
        thread.join()
    assert {what for what, _ in found} == {"score", "heat", "batch", "item", "lime"}
    answered = {key: count for key, count in found.items() if key[1] not in (200, "scored")}
    assert answered == {}, found
