"""What may a file be called? Names from the service and from people are not trusted.

Rules:

1. A file is called after what the caller knows it by (its stem: the ``custom_id`` of a batch, the
   id of a task), not after the service's name: every task's first file tends to be ``0.png``.
2. A stem keeps letters and digits of any script and ``-``, ``_`` and ``.`` inside; whatever else
   is in it becomes ``_``. So no separator, no drive, no ``..``, no control or bidi character
   and no percent sign gets through. Names that some system reserves, and over-long ones, are
   changed too.
3. A stem that had to be changed gets the start of its hash behind it, so that two different stems
   do not become one. (Who makes them meet on purpose gets two files all the same: `downloads`.)
4. The extension is the service's if it looks like one, else the one of the content type.
5. Of several outputs each has its number behind the stem: ``fox.1.png``, ``fox.2.png``.
"""

from __future__ import annotations

import hashlib
import mimetypes
import re
import unicodedata
from urllib.parse import urlsplit

from wiro_async.task import Output

_MAX_BYTES = 120
_DIGEST_LENGTH = 8
_EXTENSION = re.compile(r"\.[A-Za-z0-9]{1,8}\Z")
# Microsoft, "Naming Files, Paths, and Namespaces": there the superscripts are digits too.
_RESERVED = re.compile(r"(con|prn|aux|nul|(com|lpt)[0-9¹²³])(\..*)?", re.IGNORECASE)


def safe_stem(text: str) -> str:
    """A text as the stem of a file name; the text itself where nothing is wrong with it."""
    stem = "".join(
        c if c.isalnum() or c in "-_." else "_" for c in unicodedata.normalize("NFC", text)
    )
    stem = stem.strip(".")
    if _RESERVED.fullmatch(stem):
        stem = f"_{stem}"
    if stem == text and stem and len(stem.encode()) <= _MAX_BYTES:
        return stem
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:_DIGEST_LENGTH]
    room = _MAX_BYTES - len(digest) - 1
    stem = stem.encode()[:room].decode(errors="ignore").rstrip(".")
    return f"{stem}-{digest}" if stem else digest


def output_names(stem: str, outputs: tuple[Output, ...]) -> list[str]:
    """The file name of each output, in their order."""
    if len(outputs) == 1:
        return [f"{stem}{extension_of(outputs[0])}"]
    return [f"{stem}.{number}{extension_of(output)}" for number, output in enumerate(outputs, 1)]


def extension_of(output: Output) -> str:
    """The extension with its dot, from the output's name, its url or its content type."""
    for name in (output.name or "", _path_of(output.url or "")):
        found = _EXTENSION.search(name)
        if found:
            return found.group().lower()
    content_type = (output.content_type or "").partition(";")[0].strip().lower()
    # Not strict: image/webp is not registered everywhere.
    return mimetypes.guess_extension(content_type, strict=False) or ".bin"


def _path_of(url: str) -> str:
    try:
        return urlsplit(url).path
    except ValueError:  # such as "https://[": not ours to judge, nothing will come from there
        return ""
