"""Where files lie: dead urls, redirects, and records that point, or are named, elsewhere."""

from __future__ import annotations

import itertools
from base64 import b64decode

from attrs import evolve

from tests.hostile import deeds
from tests.hostile.meanings import Meaning
from tests.hostile.middleman import Change, Deed, Phase, Strike
from tests.hostile.rows import ALL_PHASES, ONCE_OR_EVER, File, Row
from tests.hostile.rows_of_files import file_row, in_words
from tests.hostile.rows_of_records import Record, each_record
from tests.hostile.wire import CDN, Reply, page
from tests.hostile.words import Advice

PLACES = "Where files lie"
_EVER = (Phase.EVER,)
_TRY = "nothing is repeated"
_TAKEN = "what comes is taken"
_MOST_SHOWN = 60
_MARKS = itertools.count()

JPEG = b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAP//////////////////////////////////////////////"
    "////////////////////////////////////////wAALCAABAAEBAREA/8QAFAABAAAAAAAAAAAAAAAA"
    "AAAAAP/EABQQAQAAAAAAAAAAAAAAAAAAAAD/2gAIAQEAAD8AP//Z"
)


# Urls that are dead.


def fresh_urls(reply: Reply, _: Strike) -> Reply:
    """A new url in every record: each of them is good until it is struck."""
    return evolve(reply, body=reply.body.replace(b'.png"}', b'.png?v=%d"}' % next(_MARKS)))


_GONE_ROWS = (
    *(
        Row(
            name=f"{code}, and a fresh record has another url",
            group=PLACES,
            meaning=Meaning.GONE,
            deed=deeds.telling(page(code)),
            change=fresh_urls,
            endpoints=(CDN,),
            phases=ALL_PHASES if code == 403 else ONCE_OR_EVER,
            sabotage="no fresh url is asked for",
        )
        for code in (401, 403, 404, 410)
    ),
    *(
        Row(
            name=f"{code}, and a fresh record has the same url",
            group=PLACES,
            meaning=Meaning.GONE,
            deed=deeds.telling(page(code)),
            endpoints=(CDN,),
            phases=ONCE_OR_EVER,
            sabotage="no fresh url is asked for",
        )
        for code in (401, 403, 404, 410)
    ),
)


def _place(
    name: str,
    meaning: Meaning,
    deed: Deed,
    sabotage: str = _TRY,
    *,
    phases: tuple[Phase, ...] = ALL_PHASES,
) -> Row:
    return evolve(file_row(name, meaning, deed, sabotage, phases=phases), group=PLACES)


# Redirects, and urls in the record.

FOREIGN = "{foreign}/elsewhere"
_FORBIDDEN_PLACES = (
    "http://10.0.0.1/0.png",
    "http://169.254.169.254/latest/meta-data",
    "http://[fe80::1]/0.png",
    "http://[::ffff:10.0.0.1]/0.png",
    "http://2852039166/0.png",
    "http://0x0a.1/0.png",
    "https://192.168.0.1/0.png",
    "http://user:word@127.0.0.1/0.png",
    "file:///etc/passwd",
    "ftp://127.0.0.1/0.png",
)
_FORBIDDEN_IN_RECORDS = (
    "javascript:alert(1)",
    "data:image/png;base64,AAAA",
    "http://100.64.0.1/0.png",
    "http://224.0.0.1/0.png",
    "http:///0.png",
    "http://127.0.0.1:99999/0.png",
    "http://10.0.0.1/\r\nX-Api-Key: none",
    "C:\\Windows\\win.ini",
    "../../etc/passwd",
    "//10.0.0.1/0.png",
)


def _moved(code: int, location: str | None) -> Deed:
    async def act(strike: Strike) -> bool:
        if "moved" in strike.heard.target and location == "{origin}{target}?moved":
            return await strike.say(await strike.forward())
        if location is None:
            return await strike.say(page(code))
        target = location.format(
            origin=strike.origin, foreign=strike.foreign, target=strike.heard.target
        )
        return await strike.say(page(code, (b"Location", target.encode())))

    return act


_REDIRECT_ROWS = (
    *(
        _place(
            f"{code} to another path",
            Meaning.FINE,
            _moved(code, "{origin}{target}?moved"),
            "no redirect is followed",
            phases=ONCE_OR_EVER,
        )
        for code in (301, 302, 303, 307, 308)
    ),
    _place("302 to another host with something else", Meaning.BROKEN, _moved(302, FOREIGN)),
    _place("302 without a place", Meaning.BROKEN, _moved(302, None)),
    _place(
        "302 to itself, round and round",
        Meaning.BROKEN,
        _moved(302, "{origin}{target}"),
        "redirects have no end",
        phases=_EVER,
    ),
    *(
        _place(
            f"302 to `{place}`",
            Meaning.FORBIDDEN,
            _moved(302, place),
            "any address is asked",
            phases=ONCE_OR_EVER[:1],
        )
        for place in _FORBIDDEN_PLACES
    ),
)


def _output(name: str, value: object) -> Change:
    """A field of every output in every record."""

    def alter(record: Record) -> Record:
        outputs = record.get("outputs") or []
        changed = [{**output, name: value} for output in outputs]  # type: ignore[attr-defined] # the emulator's own list
        return {**record, "outputs": changed}

    change = each_record(alter)
    return lambda reply, _: change(reply) if b"tasklist" in reply.body else reply


def _second_output(reply: Reply, _: Strike) -> Reply:
    """Another file in every record, before the real one, where there is none."""

    def alter(record: Record) -> Record:
        outputs: list[dict[str, object]] = record.get("outputs") or []  # type: ignore[assignment] # the emulator's own list
        gone = [
            {**one, "id": "none", "name": "1.png", "url": f"{one['url']}/none"} for one in outputs
        ]
        return {**record, "outputs": [*gone, *outputs]}

    return each_record(alter)(reply) if b"tasklist" in reply.body else reply


def _shown(text: str) -> str:
    if len(text) > _MOST_SHOWN:
        return f"{text[:8]}...{text[-8:]}"
    return text.encode("unicode_escape").decode().replace("|", "\\|")


_RECORD_ROWS = (
    *(
        Row(
            name=f"a record with the url `{_shown(url)}`",
            group=PLACES,
            meaning=Meaning.FORBIDDEN,
            change=_output("url", url),
            endpoints=(CDN,),
            phases=_EVER,
            sabotage="any address is asked",
        )
        for url in (*_FORBIDDEN_PLACES, *_FORBIDDEN_IN_RECORDS)
    ),
    *(
        Row(
            name=f"a file that is called `{_shown(name)}`" if name else "a file without a name",
            group=PLACES,
            meaning=Meaning.FINE,
            change=_output("name", name),
            endpoints=(CDN,),
            phases=_EVER,
            advice=Advice(
                "names the file after the request, never after the service",
                "nothing",
                "nothing",
            ),
            sabotage="the service's names are used",
        )
        for name in (
            "../../evil.png",
            "/proc/evil.png",
            "..\\..\\evil.png",
            "C:\\evil.png",
            "CON.png",
            "a\x00b.png",
            "a\nb\x1b[2J.png",
            ".batch.sqlite",
            "results.jsonl",
            "",
            "x" * 5000 + ".png",
        )
    ),
    *(
        Row(
            name=f"a record whose size is {value!r}",
            group=PLACES,
            meaning=meaning,
            change=_output("size", value),
            endpoints=(CDN,),
            phases=_EVER,
            sabotage=sabotage,
        )
        for value, meaning, sabotage in (
            ("1", Meaning.BROKEN, _TAKEN),
            ("99999", Meaning.BROKEN, _TAKEN),
            ("many", Meaning.FINE, "a size is always told"),
            (None, Meaning.FINE, "a size is always told"),
        )
    ),
    Row(
        name="a second file that is nowhere",
        group=PLACES,
        meaning=Meaning.GONE,
        change=_second_output,
        endpoints=(CDN,),
        phases=_EVER,
        saved=1,
        advice=Advice(
            "saves the others, and asks Task/Detail once for a fresh record",
            "`unsaved` (`OutputUnavailable`), with the files that are there",
            "start the same batch again soon: files are kept for a limited time",
        ),
        sabotage="one lost file is the end",
    ),
    Row(
        name="a JPEG that is called 0.png",
        group=PLACES,
        meaning=Meaning.FINE,
        deed=in_words(JPEG, b"image/png"),
        change=_output("size", str(len(JPEG))),
        endpoints=(CDN,),
        phases=_EVER,
        file=File(content=JPEG, suffix=".jpeg"),
        advice=Advice(
            "saves the bytes, and corrects the name's extension",
            "a note of it in `results.jsonl`",
            "nothing",
        ),
        sabotage="the service's kinds are believed",
    ),
)

ROWS = (*_GONE_ROWS, *_REDIRECT_ROWS, *_RECORD_ROWS)
