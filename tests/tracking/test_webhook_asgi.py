"""The receiver as a plain ASGI app, before a server by hand."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import pytest

from tests.tracking.hooks import BASE, Message, Server, call, part
from tests.virtual_time import now, run_virtual
from wiro_async.tracking import webhook
from wiro_async.tracking.webhook import WebhookReceiver


def known() -> tuple[WebhookReceiver, str, str]:
    """A receiver, a url of its own, and that one's last part."""
    receiver = WebhookReceiver(BASE)
    url = receiver.url_for()
    return receiver, url, url.rpartition("/")[2]


@pytest.mark.parametrize("prefix", ["/", "/hooks/", "/a/b/hooks/"])
def test_it_works_under_whatever_prefix_it_is_mounted(prefix: str) -> None:
    receiver, url, key = known()
    assert url == f"{BASE}/{key}"
    assert run_virtual(Server([part()]).post(receiver, prefix + key)) == 200
    assert run_virtual(Server([part()]).post(receiver, f"{prefix}{key}/more")) == 404


def test_a_body_is_read_to_its_end() -> None:
    receiver, _, key = known()
    server = Server([part(b"a", more=True), part(b"", more=True), part(b"b"), part(b"the next")])
    assert run_virtual(server.post(receiver, key)) == 200
    assert server.reads == 3


def test_a_huge_body_is_read_up_to_the_bound() -> None:
    receiver, _, key = known()

    def endless() -> Iterator[Message]:
        while True:
            yield part(bytes(1 << 16), more=True)

    server = Server(endless())
    assert run_virtual(server.post(receiver, key)) == 200
    assert server.reads == webhook._MOST_BODY_BYTES // (1 << 16) + 1


def test_a_slow_body_is_waited_for_a_while() -> None:
    receiver, _, key = known()

    async def scene() -> tuple[int | None, float]:
        return await Server([part(b"a", more=True)]).post(receiver, key), now()

    assert run_virtual(scene()) == (200, webhook._MOST_BODY_SECONDS)


def test_the_body_of_a_stranger_is_not_read() -> None:
    receiver, _, key = known()
    server = Server([part()])
    assert run_virtual(server.post(receiver, f"{key}x")) == 404
    assert server.reads == 0


def test_who_has_gone_is_heard_and_not_answered() -> None:
    receiver, _, key = known()
    server = Server([part(b"a", more=True), {"type": "http.disconnect"}])
    assert run_virtual(server.post(receiver, key)) is None
    (url,) = receiver._urls.values()
    assert url._calls == 1


def test_another_method_is_told_which_one_it_is() -> None:
    receiver, url, _ = known()
    server = Server()
    run_virtual(server.post(receiver, url, "GET"))
    assert (b"allow", b"POST") in server.sent[0]["headers"]
    assert run_virtual(call(receiver, url)) == 200


def test_a_server_may_start_and_stop_it() -> None:
    server = Server([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
    run_virtual(server.serve(WebhookReceiver(BASE), type="lifespan"))
    assert server.sent == [
        {"type": "lifespan.startup.complete"},
        {"type": "lifespan.shutdown.complete"},
    ]


def test_a_websocket_is_refused() -> None:
    receiver, url, _ = known()
    server = Server([{"type": "websocket.connect"}])
    run_virtual(server.serve(receiver, type="websocket", path=url))
    assert server.sent == [{"type": "websocket.close"}]


def test_what_asgi_may_bring_one_day_is_refused_as_it_asks_for() -> None:
    with pytest.raises(ValueError, match="'carrier pigeon'"):
        run_virtual(Server().serve(WebhookReceiver(BASE), type="carrier pigeon"))


def test_it_is_what_uvicorn_takes_for_an_asgi_3_app() -> None:
    # By itself it asks for this; to anything else it looks for a `__call__`.
    assert inspect.isfunction(WebhookReceiver(BASE).asgi)
    assert inspect.iscoroutinefunction(WebhookReceiver(BASE).asgi)
