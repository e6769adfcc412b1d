"""What a middleman can do to a request: to its connection, or to the answer's bytes."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import Callable

from attrs import evolve

from tests.hostile.middleman import Deed, Greeting, Strike
from tests.hostile.wire import Line, Reply, page

Make = Callable[[Strike], Reply]
Alter = Callable[[Reply], Reply]

_TICK = 0.002


async def forever() -> None:
    await asyncio.Event().wait()


def done_first(deed: Deed) -> Deed:
    """Let the emulator do it, throw its answer away, then do the deed."""

    async def act(strike: Strike) -> bool:
        await strike.forward()
        return await deed(strike)

    return act


# To the connection, instead of an answer.


async def reset(strike: Strike) -> bool:
    strike.line.reset()
    return False


async def hang_up(_: Strike) -> bool:
    return False


async def silence(_: Strike) -> bool:
    await forever()
    return False


def saying(content: bytes, *, then_silence: bool = False) -> Deed:
    """Write these bytes, then hang up, or say no more."""

    async def act(strike: Strike) -> bool:
        await strike.line.say(content)
        if then_silence:
            await forever()
        return False

    return act


# With the emulator's own answer.


def cut(keep: Callable[[int], int], *, then_reset: bool = False, is_silent: bool = False) -> Deed:
    """The head as it is, and so many of the body's bytes."""

    async def act(strike: Strike) -> bool:
        reply = await strike.forward()
        await strike.line.say(reply.head + reply.body[: keep(len(reply.body))])
        if is_silent:
            await forever()
        if then_reset:
            strike.line.reset()
        return False

    return act


def cut_chunked(*, garbage: bytes = b"") -> Deed:
    """A half in a chunk, and no end to it."""

    async def act(strike: Strike) -> bool:
        reply = await strike.forward()
        half = reply.body[: len(reply.body) // 2]
        head = evolve(reply, body=b"").with_header(b"Transfer-Encoding", b"chunked").head
        await strike.line.say(head + b"%x\r\n%b\r\n%b" % (len(half), half, garbage))
        return False

    return act


async def trickle(strike: Strike) -> bool:
    """The whole answer, byte by byte."""
    for byte in (await strike.forward()).render():
        await strike.line.say(bytes([byte]))
        await asyncio.sleep(0)
    return True


async def trickle_for_ever(strike: Strike) -> bool:
    """A head, then a blank at a time: never silent, never done."""
    await strike.line.say(evolve(page(200), body=b"").with_header(b"Content-Length", b"99999").head)
    while True:
        await strike.line.say(b" ")
        await asyncio.sleep(_TICK)


def altered(change: Alter) -> Deed:
    """The emulator's answer, changed."""

    async def act(strike: Strike) -> bool:
        return await strike.say(change(await strike.forward()))

    return act


def after_it(extra: bytes) -> Deed:
    """The emulator's answer, with something behind it that nobody asked for."""

    async def act(strike: Strike) -> bool:
        await strike.line.say((await strike.forward()).render() + extra)
        return True

    return act


def before_it(extra: bytes) -> Deed:
    """Something before the emulator's answer."""

    async def act(strike: Strike) -> bool:
        await strike.line.say(extra + (await strike.forward()).render())
        return True

    return act


def telling(make: Make | Reply) -> Deed:
    """An answer of one's own; the emulator is not asked."""

    async def act(strike: Strike) -> bool:
        return await strike.say(make if isinstance(make, Reply) else make(strike))

    return act


def with_body(body: bytes) -> Alter:
    return lambda reply: evolve(reply, body=body)


def as_json_of(change: Callable[[dict[str, object]], object]) -> Alter:
    """The answer's JSON object, changed."""

    def alter(reply: Reply) -> Reply:
        return evolve(reply, body=json.dumps(change(json.loads(reply.body))).encode())

    return alter


def zipped(reply: Reply) -> Reply:
    return evolve(reply, body=gzip.compress(reply.body)).with_header(b"Content-Encoding", b"gzip")


def zip_broken(reply: Reply) -> Reply:
    whole = zipped(reply)
    return evolve(whole, body=whole.body[:12] + b"\xff" * 20)


def bomb() -> bytes:
    """100 MB of blanks, in a few kilobytes."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    megabyte = b" " * (1 << 20)
    return b"".join(packer.compress(megabyte) for _ in range(100)) + packer.flush()


# To whoever connects, whatever it is for.


async def reset_at_door(line: Line) -> None:
    line.reset()


async def hang_up_at_door(line: Line) -> None:
    line.writer.close()


def saying_at_door(content: bytes) -> Greeting:
    """Speak first, read what comes, and hang up."""

    async def greet(line: Line) -> None:
        await line.say(content)
        await line.hear()

    return greet
