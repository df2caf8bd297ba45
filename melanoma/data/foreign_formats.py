"""The names of formats that are not read here, so that a refusal says what was handed in."""

from __future__ import annotations

# What stands at which offset. The first that fits names the file.
_SIGNATURES = (
    (128, b"DICM", "DICOM"),
    (0, b"\xff\x0a", "JPEG XL"),
    (0, b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    (0, b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (0, b"GIF87a", "GIF"),
    (0, b"GIF89a", "GIF"),
    (0, b"II*\0", "TIFF (or a camera's raw format)"),
    (0, b"MM\0*", "TIFF (or a camera's raw format)"),
    (0, b"II+\0", "BigTIFF"),
    (0, b"MM\0+", "BigTIFF"),
    (0, b"BM", "BMP"),
    (0, b"8BPS", "Photoshop"),
    (0, b"%PDF", "PDF"),
    (0, b"PK\x03\x04", "zip"),
)
# How files of such formats end. Their content decides in the end: some are JPEGs under such a name.
FOREIGN_SUFFIXES = (
    *(".heic", ".heics", ".heif", ".heifs", ".hif", ".avif", ".avifs", ".tif", ".tiff", ".bmp"),
    *(".dib", ".gif", ".dcm", ".dicom", ".dic", ".jp2", ".j2k", ".jpf", ".jpx", ".jpm", ".j2c"),
    *(".jpc", ".jxl", ".jxr", ".wdp", ".jls", ".psd", ".psb", ".svg", ".ico", ".tga", ".pcx"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".exr", ".hdr", ".qoi", ".xcf", ".svs", ".ndpi", ".mrxs"),
    # Cameras' raw formats.
    *(".dng", ".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw", ".srf", ".sr2", ".orf", ".rw2"),
    *(".raf", ".pef", ".srw", ".x3f", ".raw"),
)
_READ = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")  # how a JPEG and a PNG begin
_DOCUMENTS = ("PDF", "zip")
# ISO media files name themselves in `ftyp`, first the main brand and then those they fit as well.
_BRANDS = {
    b"avif": "AVIF",
    b"avis": "AVIF",
    b"heic": "HEIC",
    b"heix": "HEIC",
    b"hevc": "HEIC",
    b"heim": "HEIC",
    b"heis": "HEIC",
    b"mif1": "HEIF",
    b"msf1": "HEIF",
}


def name_format(data: bytes) -> str | None:
    """The format's name, None where the bytes are none that is known here."""
    if data[4:8] == b"ftyp":
        size = min(int.from_bytes(data[:4], "big"), 256)
        brands = [data[8:12], *(data[at : at + 4] for at in range(16, size, 4))]
        return next((_BRANDS[brand] for brand in brands if brand in _BRANDS), None)
    for at, signature, name in _SIGNATURES:
        if data.startswith(signature, at):
            return name
    return None


def is_image(data: bytes) -> bool:
    """Whether a file that begins so is an image, of a format that is read here or not."""
    if data.startswith(_READ) or (data[:4] == b"RIFF" and data[8:12] == b"WEBP"):
        return True
    name = name_format(data)
    return name is not None and name not in _DOCUMENTS
