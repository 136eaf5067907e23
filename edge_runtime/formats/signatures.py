"""What a file is by its first bytes, and the name of what cannot be judged, so that one knows what to convert."""

from __future__ import annotations

# First bytes of a file -> format and Pillow's plugin; names do not count. No other decoder gets to see a file: the
# one for EPS, for instance, starts Ghostscript. And one is imported, not all: the others delay the first answer.
PLUGINS = {
    b"\x89PNG": ("PNG", "PngImagePlugin"),
    b"\xff\xd8": ("JPEG", "JpegImagePlugin"),
    b"BM": ("BMP", "BmpImagePlugin"),
    b"GIF8": ("GIF", "GifImagePlugin"),
    b"II": ("TIFF", "TiffImagePlugin"),
    b"MM": ("TIFF", "TiffImagePlugin"),
    b"RIFF": ("WEBP", "WebPImagePlugin"),
}
NETPBM = "PPM"  # Pillow's name of it; read here, see `netpbm.py`
_NETPBM_MAGIC = (b"P1", b"P2", b"P3", b"P4", b"P5", b"P6")

_CONVERT = "save it as PNG, TIFF or DICOM first"
# Kinds of the box `ftyp` (ISO/IEC 14496-12), by which phones' and others' formats are told apart.
_BRANDS = {
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"), "HEIC (HEIF)"),
    **dict.fromkeys((b"jp2 ", b"jpx ", b"jph "), "JPEG 2000"),
    b"crx ": "a raw photograph (CR3)",
}
_NAMES = {
    b"\x00\x00\x00\x0cjP  ": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"\x00\x00\x00\x0cJXL ": "JPEG XL",
    b"\xff\x0a": "JPEG XL",
    b"II\xbc\x01": "JPEG XR",
    b"8BPS": "a Photoshop document",
    b"%PDF": "PDF",
    b"%!PS": "PostScript",
    b"PK\x03\x04": "a ZIP archive",
    b"\x1f\x8b": "a gzip archive",
    b"7z\xbc\xaf": "a 7-Zip archive",
    b"Rar!": "a RAR archive",
    b"\x00\x00\x01\x00": "an icon",
    b"\x76\x2f\x31\x01": "OpenEXR",
    b"SIMPLE  =": "FITS",
    b"P7": "PAM",
    b"Pf": "a PFM with floating-point pixels",
    b"PF": "a PFM with floating-point pixels",
    b"<svg": "SVG",
    b"<?xml": "XML",
    b"<!DOCTYPE": "a web page",
    b"<html": "a web page",
}


def format_of(head: bytes) -> tuple[str, str] | None:
    """(Pillow's name of the format, module of its plugin) of a file with these first bytes; None: not one of ours."""
    if unknown_format(head):
        return None
    if head.startswith(_NETPBM_MAGIC):
        return NETPBM, ""
    return next((entry for magic, entry in PLUGINS.items() if head.startswith(magic)), None)


def unknown_format(head: bytes) -> str:
    """Name of a known format that cannot be judged, and what to do; empty where the bytes are of none."""
    name = next((name for magic, name in _NAMES.items() if head.startswith(magic)), "")
    if head[4:8] == b"ftyp":
        # The brand it calls itself, then those that it is compatible with: AVIF often calls itself `mif1`.
        brands = [
            head[8:12],
            *(head[at : at + 4] for at in range(16, min(len(head), int.from_bytes(head[:4], "big")), 4)),
        ]
        found = [_BRANDS[brand] for brand in brands if brand in _BRANDS]
        name = "AVIF" if "AVIF" in found else found[0] if found else "a film or picture of the MP4 family"
    return f"{name}, which is not read; {_CONVERT}" if name else ""
