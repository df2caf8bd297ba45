"""Whether a JPEG's coded data is whole.

libjpeg fills what is missing or senseless with grey and warns; Pillow drops the warnings, and half
a photograph looks decoded. simplejpeg is libjpeg-turbo with the warnings kept. It verifies, at an
eighth of the size (all of the coded data is read for that too), and Pillow still decodes.
"""

from __future__ import annotations

import re

import simplejpeg

from melanoma.data.jpeg_shift import MIN_CLEARNESS, clearest_step
from melanoma.data.jpeg_structure import JpegStructure
from melanoma.errors import ImageError

# Encoders that align to words leave a few equal bytes after the last block.
_MAX_PADDING = 16
_LEFT_OVER = re.compile(r"(\d+) extraneous bytes before marker 0xd9")
_CANNOT = "Could not determine subsampling"


def check_jpeg(data: bytes, structure: JpegStructure) -> tuple[str, ...]:
    """Warnings: `unverified_image` where the sampling is one that the verifier does not know.

    Raises ImageError (`corrupt_image`) when coded data is missing or makes no sense.
    """
    if not structure.is_whole:
        raise _damaged("scans are missing or in disorder")
    # Without the application's segments: an odd revision number there is worth a warning too, and
    # the first warning hides the others.
    needed = b"".join(data[start:end] for start, end in structure.coded)
    colorspace = "CMYK" if len(structure.components) == 4 else "GRAY"
    try:
        small = simplejpeg.decode_jpeg(needed, colorspace, fastdct=True, min_height=1, min_width=1)
    except ValueError as error:
        if _CANNOT in str(error):
            return ("unverified_image",)
        if not _is_padding(needed, str(error)):
            raise _damaged("its coded data is incomplete or wrong") from error
        return ()
    if structure.rows and clearest_step(small[..., 0], rows=structure.rows) >= MIN_CLEARNESS:
        raise _damaged("from some place on, it is all brighter or all darker")
    return ()


def _is_padding(coded: bytes, message: str) -> bool:
    match = _LEFT_OVER.search(message)
    count = int(match[1]) if match else 0
    return 0 < count <= _MAX_PADDING and len(set(coded[-2 - count : -2])) == 1


def _damaged(what: str) -> ImageError:
    return ImageError("corrupt_image", f"the image is damaged or cut off: {what}")
