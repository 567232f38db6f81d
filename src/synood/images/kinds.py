"""What kind of image a file is: by its suffix for a listing, by its first bytes beyond doubt."""

from __future__ import annotations

import re

HEAD = 132  # bytes that tell the kind: a DICOM file says it after 128
READ = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "AVIF", "JPEG2000")  # Pillow's names
_SUFFIXES = """
.jpg .jpeg .jpe .jfif .jfi .jif .mpo .png .apng .gif .bmp .dib .webp .tif .tiff
.ppm .pgm .pbm .pnm .avif .avifs .jp2 .j2k .j2c .jpc .jpf .jpx .jpm
.heic .heif .hif .heics .jxl .jxr .wdp .psd .psb .tga .exr .hdr .dds .qoi .dcm
.dng .nef .cr2 .cr3 .arw .orf .rw2 .raf
.ico .cur .icns .pcx .sgi .ras .xbm .xpm .svg .svgz .eps .wmf .emf .fits .pjpeg .pjp
"""
SUFFIXES = frozenset(_SUFFIXES.split())
"""What is taken for an image without a look inside; some are of kinds that reading then refuses."""

_BEGINNINGS = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),  # above 4 GB
    (b"MM\0+", "TIFF"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG2000"),
    (b"\xff\x4f\xff\x51", "JPEG2000"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    (b"II\xbc\x01", "JPEG XR"),
    (b"8BPS", "Photoshop"),
    (b"v/1\x01", "OpenEXR"),
    (b"#?RADIANCE\n", "Radiance HDR"),
    (b"DDS \x7c\0\0\0", "DDS"),
    (b"qoif", "QOI"),
    (b"FUJIFILMCCD-RAW", "camera raw"),
    (b"\0\0\1\0", "icon"),
    (b"icns", "icon"),
    (b"<svg", "SVG"),
    (b"SIMPLE  =", "FITS"),
)
_PPM = re.compile(rb"P[1-6]\s+(?:#[^\n]*\n\s*)*\d+\s+(?:#[^\n]*\n\s*)*\d+\s")
_BMP_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)  # sizes of the header that follows
_AVIF = (b"avif", b"avis")
_HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1")


def kind_of(head: bytes) -> str | None:
    """Return the kind of image that a file with these first `HEAD` bytes is, None for no image.

    >>> kind_of(b"\\xff\\xd8\\xff\\xe0"), kind_of(b"P1 of the parliament"), kind_of(b"%PDF-1.7")
    ('JPEG', None, None)
    """
    for beginning, kind in _BEGINNINGS:
        if head.startswith(beginning):
            return kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[:2] == b"BM" and head[6:10] == b"\0\0\0\0" and _number(head[14:18]) in _BMP_HEADERS:
        return "BMP"
    if _PPM.match(head):
        return "PPM"
    if head[4:8] == b"ftyp":
        return _kind_of_box(head)
    return "DICOM" if head[128:132] == b"DICM" else None


def _kind_of_box(head: bytes) -> str | None:
    """Tell AVIF, HEIC and a camera's CR3 by the brands of an ISO file, None for a film."""
    end = min(int.from_bytes(head[:4], "big"), len(head))
    brands = [head[8:12], *(head[start : start + 4] for start in range(16, end, 4))]
    if brands[0] == b"crx ":
        return "camera raw"
    if brands[0] not in (*_AVIF, *_HEIC):
        return None
    return "AVIF" if any(brand in _AVIF for brand in brands) else "HEIC"


def _number(data: bytes) -> int:
    return int.from_bytes(data, "little")
