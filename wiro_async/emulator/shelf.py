"""Where files lie: the folder on disk behind the CDN and the uploads.

Paths look like the service's, `/cdn/{eight groups of eight hex digits}/{name}`. For the
picture of a task the folder is computed from the task's id and can be computed back, so
there is no index to keep: a hundred thousand pictures cost their bytes on disk and nothing
in memory. Uploads are few and have an index.
"""

import hashlib
import tempfile
from base64 import b64decode
from pathlib import Path, PurePath
from typing import BinaryIO
from urllib.parse import quote

import attrs

from wiro_async.emulator import chance
from wiro_async.emulator.books import BookedFile

CONTENT_TYPES = {"png": "image/png", "jpeg": "image/jpeg"}

# One grey pixel each, for emulators that do not draw.
_PIXEL = {
    "png": b64decode(
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR42mNoAAAAggCB2kUIOwAAAABJ"
        "RU5ErkJggg=="
    ),
    "jpeg": b64decode(
        "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAP//////////////////////////////////////////////"
        "////////////////////////////////////////wAALCAABAAEBAREA/8QAFAABAAAAAAAAAAAAAAAA"
        "AAAAAP/EABQQAQAAAAAAAAAAAAAAAAAAAAD/2gAIAQEAAD8AP//Z"
    ),
}


@attrs.frozen(kw_only=True)
class Item:
    """A file as it lies on the shelf."""

    path: Path
    content_type: str
    etag: str
    """With its quotes, ready for the header; two contents never share one."""


class Shelf:
    """The files of one emulator, in a temporary folder that goes with it."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._mask = int.from_bytes(chance.fingerprint("folder", seed)[:4])
        self._folder = tempfile.TemporaryDirectory(prefix="wiro-emulator-")
        self._received = 0
        self._uploads: dict[tuple[str, str], Item] = {}

    @property
    def root(self) -> Path:
        """The folder on disk."""
        return Path(self._folder.name)

    def clear(self) -> None:
        """Delete every file and the folder."""
        self._folder.cleanup()

    def picture_path(self, task_id: str, file_format: str) -> Path:
        """Give the place on disk where the picture of a task belongs."""
        return self.root / f"{task_id}.{file_format}"

    def picture(self, task_id: str, file_format: str, size: int, sha256: str) -> BookedFile:
        """Describe a task's picture as the service calls it: always `0.png` or `0.jpeg`."""
        name = f"0.{file_format}"
        return BookedFile(
            name=name,
            path=f"/cdn/{self._folder_of(task_id)}/{name}",
            content_type=CONTENT_TYPES[file_format],
            size=size,
            sha256=sha256,
        )

    def pixel(self, task_id: str, file_format: str) -> BookedFile:
        """Give every task the same tiny picture, without drawing anything."""
        content = _PIXEL[file_format]
        path = self._pixel_path(file_format)
        if not path.exists():
            path.write_bytes(content)
        return self.picture(task_id, file_format, len(content), hashlib.sha256(content).hexdigest())

    def task_of(self, folder: str) -> str:
        """Give the id of the task whose folder that is; "" if it is none's."""
        try:
            task_id = str(int(folder[:8], 16) ^ self._mask)
        except ValueError:
            return ""
        return task_id if self._folder_of(task_id) == folder else ""

    def open_picture(self, task_id: str, picture: BookedFile) -> Item:
        """Give the item behind the picture of a task."""
        file_format = picture.name.rpartition(".")[2]
        path = self.picture_path(task_id, file_format)
        return Item(
            path=path if path.exists() else self._pixel_path(file_format),
            content_type=picture.content_type,
            etag=f'"{picture.sha256[:32]}"',
        )

    def open_upload(self, folder: str, name: str) -> Item | None:
        """Give an uploaded file; `None` if there is none under that folder and name."""
        return self._uploads.get((folder, name))

    def receive(self) -> tuple[Path, BinaryIO]:
        """Open a place on disk for an upload; who calls it closes the file and keeps it."""
        self._received += 1
        path = self.root / f"upload-{self._received}"
        return path, path.open("xb")

    def keep(self, path: Path, name: str, content_type: str, sha256: str) -> BookedFile:
        """Put a received upload on the shelf under its own name, without any folders in it."""
        plain = PurePath(name.replace("\\", "/")).name or "upload"
        folder = self._folder_name("upload", path.name)
        self._uploads[folder, plain] = Item(
            path=path, content_type=content_type, etag=f'"{sha256[:32]}"'
        )
        return BookedFile(
            name=plain,
            path=f"/cdn/{folder}/{quote(plain)}",
            content_type=content_type,
            size=path.stat().st_size,
            sha256=sha256,
        )

    def _pixel_path(self, file_format: str) -> Path:
        return self.root / f"pixel.{file_format}"

    def _folder_of(self, task_id: str) -> str:
        first = f"{int(task_id) ^ self._mask:08x}"
        return first + self._folder_name("task", task_id)[8:]

    def _folder_name(self, *parts: str) -> str:
        digits = chance.fingerprint(self._seed, *parts).hex()
        return "-".join(digits[start : start + 8] for start in range(0, 64, 8))
