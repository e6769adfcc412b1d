"""What may a file be called? Names from the service and from people are not trusted.

Rules:

1. A file is called after what the caller knows it by (its stem: the ``custom_id`` of a batch, the
   id of a task), not after the service's name: every task's first file tends to be ``0.png``.
2. A stem keeps letters and digits of any script and ``-``, ``_`` and ``.`` inside; whatever else
   is in it becomes ``_``: marks, signs, blanks, controls, what is not assigned or not seen. So no
   separator, no drive, no ``..``, no percent sign gets through. A dash at its beginning becomes
   ``_`` too: a person's ``rm *`` would read it as an option.
3. Three kinds of stems are changed for what they mean: names of devices; the files that a batch
   itself keeps beside its outputs (``results.jsonl``, ``batch.sqlite.lock``, ...), whatever the
   extension would be; and what ends like the number of an output (``fox.1``), as ``fox`` may have
   two. The first two are told by their `name_key`, as a file system may tell them.
4. A stem that had to be changed gets the start of its hash behind it, so that two different stems
   do not become one. (Who makes them meet on purpose gets two files all the same: `downloads`.)
5. Two stems may still be one name to a file system that folds case (APFS, NTFS), forms (HFS+),
   both (ext4's casefold) or full-width letters (ZFS, told to), or when a directory is copied to
   one. Within a batch no two stems have the same `name_key`: the second request is refused, as
   one with a ``custom_id`` that was used before is. Not renamed: its name would then depend on
   what came before it, and differ when the batch is gone on with; and a hash behind every stem
   with a capital would spoil ``IMG_0042.png`` for the sake of a rare pair.
6. Of several outputs each has its number behind the stem: ``fox.1.png``, ``fox.2.png``.
7. The service chooses the extension among those that show something or hold data and that no
   system runs (`_FAMILIES`). One that is none of these, or of another family than the content
   type says (``.pdf`` for image/png), is left for the content type's own; a text without one is
   ``.txt``, everything else ``.bin``. So ``.exe``, ``.lnk``, ``.desktop``, ``.sh`` and ``.html``
   (a page runs scripts) are never written.
8. A name with all that is hung on it is at most 255 bytes, and 255 UTF-16 units composed or not.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Mapping
from types import MappingProxyType
from urllib.parse import urlsplit

from wiro_async.task import Output

# Far below 255 with an output's number, a hash of the content, an extension and what makes a part
# file of it (`downloads`).
_MAX_BYTES = 120
_DIGEST_LENGTH = 8
_EXTENSION = re.compile(r"\.([A-Za-z0-9]{1,8})\Z")
# Letters to Unicode, and nothing to the eye (Default_Ignorable_Code_Point).
_BLANK_LETTERS = frozenset("\u115f\u1160\u3164\uffa0")
# Of a name's key, so superscript digits are digits. Devices: Microsoft, "Naming Files, Paths, and
# Namespaces". The others are what `batch.record` and `batch.journal` write, and the report.
_RESERVED = re.compile(
    r"(con|prn|aux|nul|(com|lpt)[0-9]|results|errors|report|batch)(\..*)?", re.DOTALL
)
_NUMBERED = re.compile(r"\.[0-9]+\Z")

_FAMILIES: Mapping[str, str] = MappingProxyType(
    {
        extension: family
        for family, extensions in {
            "image": "png jpg jpeg webp gif bmp tif tiff avif heic heif jxl ico svg psd exr tga",
            "video": "mp4 webm mov mkv avi m4v mpg mpeg ogv",
            "audio": "mp3 wav ogg oga opus flac m4a aac aif aiff weba mid midi",
            "model": "glb gltf obj fbx stl ply usd usdz mtl splat",
            "text": "txt md csv tsv srt vtt",
            "data": "json jsonl xml yaml pdf zip tar gz 7z parquet npy npz safetensors bin",
        }.items()
        for extension in extensions.split()
    }
)
# Where the content type's second half is not the extension itself (IANA, "Media Types").
_OF_TYPE: Mapping[str, str] = MappingProxyType(
    {
        "image/jpeg": "jpg",
        "image/svg+xml": "svg",
        "image/vnd.adobe.photoshop": "psd",
        "image/vnd.microsoft.icon": "ico",
        "video/quicktime": "mov",
        "video/x-matroska": "mkv",
        "video/x-msvideo": "avi",
        "video/ogg": "ogv",
        "audio/mpeg": "mp3",
        "audio/mp4": "m4a",
        "audio/webm": "weba",
        "model/gltf-binary": "glb",
        "model/gltf+json": "gltf",
        "model/vnd.usdz+zip": "usdz",
        "text/markdown": "md",
        "text/tab-separated-values": "tsv",
        "application/gzip": "gz",
        "application/x-7z-compressed": "7z",
        "application/x-ndjson": "jsonl",
    }
)
# A content type of these says what a file is; another one (application/octet-stream) does not.
_TELLING = frozenset({"image", "video", "audio"})


def safe_stem(text: str) -> str:
    """A text as the stem of a file name; the text itself where nothing is wrong with it."""
    stem = "".join(
        c if (c.isalnum() and c not in _BLANK_LETTERS) or c in "-_." else "_"
        for c in unicodedata.normalize("NFC", text)
    ).strip(".")
    key = name_key(stem)
    if stem.startswith("-"):
        stem = f"_{stem[1:]}"
    elif _RESERVED.fullmatch(key):
        stem = f"_{stem}"
    is_fine = stem and len(stem.encode()) <= _MAX_BYTES and not _NUMBERED.search(key)
    if is_fine and stem == text:
        return stem
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:_DIGEST_LENGTH]
    room = _MAX_BYTES - len(digest) - 1
    stem = stem.encode()[:room].decode(errors="ignore").rstrip(".")
    return f"{stem}-{digest}" if stem else digest


def name_key(name: str) -> str:
    """What two names share that some file system takes for one, whatever case or form they have.

    Unicode's compatibility caseless matching (The Unicode Standard, 3.13, D146).
    """
    if name.isascii():
        return name.lower()
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFD", name).casefold())
    return unicodedata.normalize("NFKC", folded.casefold())


def output_names(stem: str, outputs: tuple[Output, ...]) -> list[str]:
    """The file name of each output, in their order."""
    if len(outputs) == 1:
        return [f"{stem}{extension_of(outputs[0])}"]
    return [f"{stem}.{number}{extension_of(output)}" for number, output in enumerate(outputs, 1)]


def extension_of(output: Output) -> str:
    """The extension with its dot, from the output's name, its url or its content type (rule 7)."""
    content_type = (output.content_type or "").partition(";")[0].strip().lower()
    family = content_type.partition("/")[0]
    for name in (output.name or "", _path_of(output.url or "")):
        found = _EXTENSION.search(name)
        extension = found.group(1).lower() if found else ""
        its_own = _FAMILIES.get(extension)
        if its_own is not None and (its_own == family or family not in _TELLING):
            return f".{extension}"
    return f".{_extension_of_type(content_type)}"


def _extension_of_type(content_type: str) -> str:
    family, _, kind = content_type.partition("/")
    extension = _OF_TYPE.get(content_type) or kind.removeprefix("x-")
    if extension in _FAMILIES:
        return extension
    return "txt" if family == "text" else "bin"


def _path_of(url: str) -> str:
    try:
        return urlsplit(url).path
    except ValueError:  # such as "https://[": not ours to judge, nothing will come from there
        return ""
