"""Forms are read in small steps, and their files lie in memory once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest
from fastapi.testclient import TestClient
from starlette.datastructures import Headers
from tiny_service import refused

from api import uploads

CONTENT = {
    "a photograph": bytes(range(256)) * 400,
    "lines": b"\r\n" * 50_000,
    "almost boundaries": b"\r\n--a?" * 20_000,
}


@pytest.mark.parametrize("what", CONTENT)
@pytest.mark.parametrize("size", [1_000, 65_536])
def test_a_file_is_what_was_sent_however_it_came(what: str, size: int) -> None:
    data = CONTENT[what]
    head = b'--a\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
    body = head + data + b"\r\n--a--\r\n"
    turns = steps = 0

    async def chunks() -> AsyncGenerator[bytes, None]:
        for start in range(0, len(body), size):
            yield body[start : start + size]

    async def counted() -> AsyncGenerator[bytes, None]:
        nonlocal steps
        async for step in uploads._small_steps(chunks()):
            steps += 1
            assert what != "almost boundaries" or len(step) <= uploads._STEP
            yield step

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def read() -> bytes:
        asker = asyncio.create_task(others())
        headers = Headers({"content-type": "multipart/form-data; boundary=a"})
        form = await uploads._InMemory(headers, counted()).parse()
        asker.cancel()
        file = form["file"]
        assert not isinstance(file, str)
        found = await file.read()
        await form.close()
        assert await file.read() == b""
        return found

    assert asyncio.run(read()) == data
    if what == "almost boundaries" and size > uploads._STEP:
        assert turns >= steps > len(body) / uploads._STEP
    else:
        assert steps == -(-len(body) // size)


@pytest.mark.parametrize(
    ("name", "is_file"),
    [
        (b"filename*=UTF-8''l%C3%A9sion.jpg", True),
        (b"FileName* = UTF-8''a.jpg", True),
        (b"filename=\"a.jpg\"; filename*=UTF-8''b.jpg", True),
        (b"file=a.jpg", False),
    ],
)
def test_a_name_in_other_letters_alone_makes_a_part_a_file(name: bytes, is_file: bool) -> None:
    async def chunks() -> AsyncGenerator[bytes, None]:
        head = b'--a\r\nContent-Disposition: form-data; name="file"; %s\r\n\r\n' % name
        yield head + b"bytes\r\n--a--\r\n"

    async def read() -> object:
        headers = Headers({"content-type": "multipart/form-data; boundary=a"})
        return (await uploads._InMemory(headers, chunks()).parse())["file"]

    assert isinstance(asyncio.run(read()), str) != is_file


@pytest.mark.parametrize("path", ["/predict", "/explain", "/predict/batch"])
@pytest.mark.parametrize("size", [10, 2_000_000])
def test_a_file_that_is_sent_as_text_is_told_that_whatever_its_size(
    client: TestClient, path: str, size: int
) -> None:
    field = "files" if path == "/predict/batch" else "file"
    body = b'--B\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n--B--\r\n' % (
        field.encode(),
        b"a" * size,
    )
    kind = {"content-type": "multipart/form-data; boundary=B"}
    message = refused(client.post(path, content=body, headers=kind), 422, "missing_file")
    assert "without a filename" in message
    assert f"`{field}`" in message


@pytest.mark.parametrize("charset", ["undefined", "hex", "rot13", "idna", "punycode", "zlib"])
@pytest.mark.parametrize("name", [b"file", b"\xff\xfe"])
def test_a_charset_that_is_none_is_never_our_fault(
    client: TestClient, photograph: bytes, charset: str, name: bytes
) -> None:
    head = b'--B\r\nContent-Disposition: form-data; name="%s"; filename="f"\r\n\r\n' % name
    body = head + photograph + b"\r\n--B--\r\n"
    kind = {"content-type": f"multipart/form-data; boundary=B; charset={charset}"}
    reply = client.post("/predict", content=body, headers=kind)
    assert reply.status_code in (200, 400, 422), reply.text
    if charset == "undefined":
        assert "charset" in refused(reply, 400, "bad_multipart")
