"""A file of another format is refused by its name, with what to do."""

from __future__ import annotations

import re

import numpy as np
import pytest
from image_bytes import encoded, jpeg_frame, jpeg_of, jpeg_scan

from melanoma.data.images import decode_image
from melanoma.errors import ImageError

GREY = np.full((30, 30, 3), 99, np.uint8)


def of_frame(marker: int, bits: int = 8) -> bytes:
    frame = jpeg_frame(marker, width=32, height=32, bits=bits)
    return jpeg_of(frame, jpeg_scan(0, 63, high=0, low=0))


def media(brand: bytes, *others: bytes) -> bytes:
    brands = brand + bytes(4) + b"".join(others)
    return (8 + len(brands)).to_bytes(4, "big") + b"ftyp" + brands + bytes(200)


FOREIGN = {
    "a 12-bit JPEG": of_frame(0xC1, bits=12),
    "a lossless JPEG": of_frame(0xC3),
    "a hierarchical JPEG": of_frame(0xC5),
    "a JPEG-LS file": of_frame(0xF7),
    "JPEG XL": b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(200),
    "JPEG 2000": encoded(GREY, "JPEG2000"),
    "AVIF": media(b"avif", b"mif1"),
    "HEIC": media(b"heic", b"mif1"),
    "HEIF": media(b"mif1"),
    "DICOM": bytes(128) + b"DICM" + bytes(200),
    "TIFF": encoded(GREY, "TIFF"),
    "GIF": encoded(GREY, "GIF"),
    "BMP": encoded(GREY, "BMP"),
    "PDF": encoded(GREY, "PDF"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_format_is_named(name: str) -> None:
    with pytest.raises(ImageError, match=re.escape(f"this is {name}")) as caught:
        decode_image(FOREIGN[name])
    assert caught.value.code == "unsupported_format"
    assert "convert to JPEG/PNG" in str(caught.value)


def test_a_brand_in_second_place_names_the_file() -> None:
    for main, other, name in ((b"mif1", b"heic", "HEIF"), (b"miaf", b"avif", "AVIF")):
        with pytest.raises(ImageError, match=f"this is {name}"):
            decode_image(media(main, other))


@pytest.mark.parametrize("data", [b"no picture at all", media(b"isom"), b"\xff\x0b\0"])
def test_what_has_no_name_here_is_refused_without_one(data: bytes) -> None:
    with pytest.raises(ImageError, match=r"^not a JPEG, PNG or WEBP image; convert to JPEG/PNG$"):
        decode_image(data)
