"""What names stand for, and which addresses are dialled, without a network."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import aiohappyeyeballs
import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult


class Directory(AbstractResolver):
    """The first label of a name is looked up here; keeps what it was asked."""

    def __init__(self, **names: list[str]) -> None:
        self.names = names
        self.asked: list[str] = []
        self.is_closed = False

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        del family
        self.asked.append(host)
        label = host.partition(".")[0].lower()
        if label not in self.names:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in self.names[label]
        ]

    async def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def resolve_as(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Directory]:
    """Let names stand for addresses, in pools that are made from now on."""

    def install(**names: list[str]) -> Directory:
        directory = Directory(**names)
        monkeypatch.setattr(aiohttp, "DefaultResolver", lambda: directory)
        return directory

    return install


@pytest.fixture
def dialled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that were dialled; only those of this machine answer."""
    seen: list[str] = []
    dial = aiohappyeyeballs.start_connection

    async def note(**options: Any) -> socket.socket:  # noqa: ANN401 - handed on
        hosts = [str(info[4][0]) for info in options["addr_infos"]]
        seen.extend(hosts)
        if not all(host.startswith("127.") for host in hosts):
            raise ConnectionRefusedError("nobody there")
        return await dial(**options)

    monkeypatch.setattr(aiohappyeyeballs, "start_connection", note)
    return seen
