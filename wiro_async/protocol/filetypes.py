"""What is in a file, told by its first bytes; and what its name should therefore end in.

Rules:

1. A type is known by the bytes that its own specification has it begin with: the table below
   names each one. What is not in it is not recognised, and then the file's name stands.
2. Where bytes and name disagree the bytes are right, since they are what a viewer opens: the
   extension is corrected. Endings of one family (``.jpg`` and ``.jpeg``) do not disagree.
3. Some beginnings are shared with formats that this table does not know: a ``.docx`` is a zip,
   a ``.dng`` is a TIFF. Those correct only a name that claims to be another type of the table.
4. A server that fails often answers with a page, and a status that says it went well. Bytes
   that begin like HTML (WHATWG, MIME Sniffing, 7.1) in place of anything but HTML are such a
   page, and so is any markup or JSON in place of a picture, a sound or a film. A page that is
   called HTML by its header alone is one too, unless its bytes are of a known type.
"""

from __future__ import annotations

import re

from attrs import field, frozen

# As many first bytes as the tables below look at, and more than any of them needs.
HEAD_BYTES = 1024

_HTML_TYPES = frozenset({"text/html", "application/xhtml+xml"})
_HTML_EXTENSIONS = frozenset({".htm", ".html", ".xht", ".xhtml"})
# Of a file that can itself begin like a page; only the header tells them apart.
_TEXT_TYPES = ("text/", "application/json", "application/xml", "application/yaml")
_TEXT_EXTENSIONS = frozenset(
    {
        *(".css", ".csv", ".js", ".json", ".jsonl", ".log", ".md", ".py", ".srt", ".tex"),
        *(".tsv", ".txt", ".vtt", ".xml", ".yaml", ".yml"),
    }
)
_MEDIA_TYPES = ("image/", "audio/", "video/")
_MEDIA_EXTENSIONS = frozenset({".aac", ".avi", ".ico", ".jxl", ".m4b", ".opus", ".psd"})
_BLANKS = b"\t\n\x0c\r "
_HTML = re.compile(
    rb"(?:\xef\xbb\xbf)?[\t\n\x0c\r ]*<(?:!--|(?:!doctype html|html|head|script|iframe|h1|div|font"
    rb"|table|a|style|title|b|body|br|p)[ \t\n\x0c\r/>])",
    re.IGNORECASE,
)
# ISO/IEC 11172-3, 2.4.2.3: sync word, a version, layer III, a bit rate and a sampling rate
# that are not reserved.
_MPEG_AUDIO = rb"\xff[\xfa\xfb\xf2\xf3\xe2\xe3](?=[\x10-\xef])[^\x0c-\x0f%s]" % b"".join(
    b"\\x%02x-\\x%02x" % (high + 12, high + 15) for high in range(0x10, 0xF0, 0x10)
)


@frozen(kw_only=True)
class FileType:
    """A kind of file.

    Attributes:
        name: what people call it.
        extension: what a file of it is called by, with the dot.
        family: extensions that do not contradict it.
        is_shared: whether formats that are not known here begin with the same bytes.
    """

    name: str
    extension: str
    family: frozenset[str]
    is_shared: bool
    _pattern: re.Pattern[bytes] = field(alias="pattern", repr=False)

    def begins(self, head: bytes) -> bool:
        """Whether a file with these first bytes is of it."""
        return self._pattern.match(head) is not None


def _type(name: str, extensions: str, pattern: bytes, *, is_shared: bool = False) -> FileType:
    family = extensions.split()
    return FileType(
        name=name,
        extension=family[0],
        family=frozenset(family),
        is_shared=is_shared,
        pattern=re.compile(pattern, re.DOTALL),
    )


_FILM = ".mp4 .m4v .mov .qt .m4a .m4b .3gp .3g2"

_TYPES = (
    # W3C, Portable Network Graphics, 5.2
    _type("PNG", ".png .apng", rb"\x89PNG\r\n\x1a\n"),
    # ITU-T T.81, B.1.1.3: the SOI marker, and the first byte of another
    _type("JPEG", ".jpeg .jpg .jpe .jfif", rb"\xff\xd8\xff"),
    # CompuServe, GIF89a, section 17
    _type("GIF", ".gif", rb"GIF8[79]a"),
    # RFC 9649, 2.4
    _type("WebP", ".webp", rb"RIFF....WEBP"),
    # Alliance for Open Media, AVIF 1.1, section 6; ISO/IEC 23008-12, annex B
    _type("AVIF", ".avif .avifs .heif", rb"....ftypavi[fs]"),
    _type("HEIC", ".heic .heics .heif", rb"....ftyphe(?:ic|ix|im|is|vc|vx)"),
    _type("HEIF", ".heif .heic .avif", rb"....ftypm[is]f1"),
    # Microsoft, BITMAPFILEHEADER: its reserved fields are nought, a known header's size follows
    _type("BMP", ".bmp .dib", rb"BM....\0{4}....[\x0c\x28\x34\x38\x40\x6c\x7c]\0{3}"),
    # TIFF 6.0, section 2; many a camera's raw format is one
    _type("TIFF", ".tiff .tif", rb"II\*\0|MM\0\*", is_shared=True),
    # ISO/IEC 14496-12, 4.3: the brand, or at least the box that it stands in
    _type("QuickTime", f".mov {_FILM}", rb"....ftypqt  "),
    _type("MPEG-4 audio", f".m4a {_FILM}", rb"....ftypM4[AB] "),
    _type("MPEG-4", _FILM, rb"....ftyp"),
    # RFC 8794, 11.2.4: EBML, and its DocType (RFC 9559, 27.1)
    _type("WebM", ".webm .mkv .mka", rb"\x1a\x45\xdf\xa3.{1,64}\x42\x82.{1,8}webm"),
    _type("Matroska", ".mkv .mka .webm", rb"\x1a\x45\xdf\xa3"),
    # Microsoft and IBM, Multimedia Programming Interface: RIFF, form WAVE
    _type("WAV", ".wav .wave", rb"RIFF....WAVE"),
    # RFC 9639, section 8; RFC 3533, section 6
    _type("FLAC", ".flac", rb"fLaC"),
    _type("Ogg", ".ogg .oga .ogv .ogx .opus .spx", rb"OggS\0"),
    # ID3v2.4, 3.1, is put before other sounds too, if seldom
    _type("MP3", ".mp3 .mp2 .mpga", rb"ID3[\x02-\x04]|" + _MPEG_AUDIO, is_shared=True),
    # ISO 32000-1, 7.5.2
    _type("PDF", ".pdf", rb"%PDF-", is_shared=True),
    # Khronos, glTF 2.0, 4.4.2
    _type("glTF", ".glb", rb"glTF[\x01\x02]\0\0\0"),
    # PKWARE, APPNOTE 4.3.7, 4.3.16
    _type("ZIP", ".zip", rb"PK(?:\x03\x04|\x05\x06)", is_shared=True),
    # W3C, SVG 2, chapter 5, behind XML's own prologue
    _type(
        "SVG",
        ".svg",
        rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*)?(?:<!--(?:(?!-->).)*-->\s*)*"
        rb"(?:<!DOCTYPE svg[^>]*>\s*)?<svg[\s>]",
    ),
)
_KNOWN_EXTENSIONS = frozenset(extension for one in _TYPES for extension in one.family)
_NOT_MEDIA = frozenset({".glb", ".pdf", ".zip"})


def found_type(head: bytes) -> FileType | None:
    """The type of a file with these first bytes; None if they are not recognised."""
    head = head[:HEAD_BYTES]
    return next((one for one in _TYPES if one.begins(head)), None)


def corrected_extension(extension: str, head: bytes) -> FileType | None:
    """The type whose extension a file should have instead; None where its own may stand.

    Args:
        extension: the one that it would get, with the dot; ``.bin`` claims nothing.
        head: the first bytes of the file.
    """
    found = found_type(head)
    extension = extension.lower()
    if found is None or extension in found.family:
        return None
    is_claim = extension in _KNOWN_EXTENSIONS or extension in {"", ".bin"}
    return found if is_claim or not found.is_shared else None


def find_page(
    head: bytes, *, answered_type: str | None, expected_type: str | None, extension: str
) -> str | None:
    """What came in place of a file, in words; None if it may be the file.

    Args:
        head: the first bytes that came.
        answered_type: the ``Content-Type`` that they came with.
        expected_type: the content type of the task's record.
        extension: what the file would be called by, with the dot.
    """
    expected, extension = _plain(expected_type), extension.lower()
    if expected in _HTML_TYPES or extension in _HTML_EXTENSIONS or found_type(head) is not None:
        return None
    begins_like_html = _HTML.match(head) is not None
    is_called_html = _plain(answered_type) in _HTML_TYPES
    is_drawing = expected == "image/svg+xml" or extension == ".svg"
    if is_drawing or expected.startswith(_TEXT_TYPES) or extension in _TEXT_EXTENSIONS:
        is_page = begins_like_html and is_called_html
    else:
        is_page = begins_like_html or is_called_html
    if is_page:
        return "a page of HTML"
    if not _is_media(expected, extension):
        return None
    first = head.removeprefix(b"\xef\xbb\xbf").lstrip(_BLANKS)[:1]
    return None if is_drawing and first == b"<" else _TEXTS.get(first)


_TEXTS = {b"{": "a text in JSON", b"[": "a text in JSON", b"<": "a text in XML"}


def _is_media(expected: str, extension: str) -> bool:
    known = _KNOWN_EXTENSIONS | _MEDIA_EXTENSIONS
    return expected.startswith(_MEDIA_TYPES) or extension in known - _NOT_MEDIA


def _plain(content_type: str | None) -> str:
    """A content type without its parameters."""
    return (content_type or "").partition(";")[0].strip().lower()
