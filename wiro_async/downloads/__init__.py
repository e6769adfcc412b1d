"""Bytes to disk: streamed, checked, gone on with where they broke off, renamed into place.

Rules:

1. A file appears under its final name only when it is whole: a part file beside it takes the
   bytes, for its owner's eyes alone; their number is compared with what the answer announces and
   with the task's record; they are flushed to the disk, and only then get the name. Nothing is
   left of a part once its saving is over, however that ends.
2. A file that exists is never overwritten with something else. The same bytes are the same
   file; other bytes get a name of their own, with their hash in it. A name that is a link is
   taken: nothing is written through it. (That the directory is one is its owner's choice.)
3. What breaks on the way is gone on with where that is safe, and asked for from the start where
   it is not (`protocol.ranges`, after RFC 9110). The task is paid, so a try that brought new
   bytes counts as none. It ends after as many in a row that bring nothing new as
   `RetryPolicy.max_download_attempts` says, and after a hundred tries whatever they bring. Silence
   ends a try, the time that it takes does not.
4. A url that is refused has mostly expired (wiro-api facts, "Outputs"): the task's record is
   asked for once more, and the url that it has then is tried. A 404 is asked for again after
   that as well (`RetryPolicy.max_attempts`), since a file just made may not be everywhere yet;
   410 and the others are not (RFC 9110, 15.5.5, 15.5.11). Then the output is unavailable, and
   that is told with all names.
5. What comes has to be the file: neither a page (`protocol.filetypes`), nor encoded, nor empty
   unless the record says so, nor larger than the session takes. Bytes of another type than the
   name are kept, and the name's extension is corrected.
6. The url is public to whoever has it, and no credential goes along (wiro-api facts,
   "Outputs"). Where it must not lead is the transport's knowledge, and its word is final.
7. One output that is lost does not take the task's other ones along; a disk that fails does,
   since it would fail them as well.
"""

from wiro_async.downloads.downloader import Downloader
from wiro_async.downloads.errands import SavedFile
from wiro_async.downloads.partfile import holds, remove_parts, sync_directory

__all__ = ["Downloader", "SavedFile", "holds", "remove_parts", "sync_directory"]
