"""Embedded color profiles: what turns a file's colors into sRGB, which the networks know.

A phone's Display P3 or a camera's Adobe RGB, read as if it were sRGB, is a paler skin. Transforms
are built for each photograph: littleCMS's are not to be shared by threads.
"""

from __future__ import annotations

import io
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageCms

from melanoma.data.stated_colors import stated_profile

# The largest printing profiles in use have 3 MB.
MAX_PROFILE = 4_000_000
IGNORED = "ignored_color_profile"
# Writers' copies of sRGB differ by so many levels where they round the curve's foot.
_SAME = 3
_GREY_MODES = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N")
_LATTICE = 17  # levels of each channel that are tried


class ColorChange(NamedTuple):
    """A transform to sRGB, None where nothing is to be done, and warnings."""

    transform: ImageCms.ImageCmsTransform | None
    warnings: tuple[str, ...] = ()


def find_color_change(image: Image.Image) -> ColorChange:
    """What the file's profile asks for, or what it states without one. A profile that is broken,
    huge or of another kind is ignored."""
    profile = image.info.get("icc_profile")
    if profile and len(profile) > MAX_PROFILE:
        return ColorChange(None, (IGNORED,))
    try:
        profile = profile or stated_profile(image, grey=image.mode in _GREY_MODES)
        if not profile:
            return ColorChange(None)
        transform = _make_transform(profile, image.mode)
        if transform is None:
            return ColorChange(None, (IGNORED,))
        return ColorChange(None if _changes_nothing(transform) else transform)
    except MemoryError:
        raise
    except Exception:  # PyCMSError, OSError, and whatever else odd bytes lead to
        return ColorChange(None, (IGNORED,))


def to_srgb(image: Image.Image, transform: ImageCms.ImageCmsTransform) -> Image.Image:
    """The colors (without alpha) in sRGB."""
    mode = transform.input_mode
    return transform.apply(image if image.mode == mode else image.convert(mode))


def _make_transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """None where the profile speaks of other channels than the image has."""
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    space = source.profile.xcolor_space.strip()
    if space == "RGB" and mode != "CMYK":
        kind = "RGB"
    elif space == "GRAY" and mode in _GREY_MODES:
        kind = "L"
    elif space == "CMYK" and mode == "CMYK":
        kind = "CMYK"
    else:
        return None
    return ImageCms.buildTransform(
        source,
        ImageCms.createProfile("sRGB"),
        kind,
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )


def _changes_nothing(transform: ImageCms.ImageCmsTransform) -> bool:
    """Whether it is sRGB by another name: judged by what it does, as names are free."""
    if transform.input_mode == "CMYK":
        return False
    levels = np.linspace(0, 255, _LATTICE).round().astype(np.uint8)
    if transform.input_mode == "L":
        colors = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
        converted = transform.apply(Image.fromarray(colors[None, :, 0]))
    else:
        colors = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(-1, 3)
        converted = transform.apply(Image.fromarray(colors[None]))
    change = np.abs(np.asarray(converted)[0].astype(np.int16) - colors)
    return int(change.max()) <= _SAME
