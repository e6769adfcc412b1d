"""What the hub makes of what the socket says, in virtual time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from itertools import pairwise
from unittest import mock

import pytest

from tests.tracking.push_stage import FakeSocket, PushStage, push_stage
from tests.virtual_time import run_virtual, settle
from wiro_async.tracking.watch import Watch

END = "task_postprocess_end"


def on_stage(scene: Callable[[PushStage], Awaitable[None]], **options: int) -> None:
    async def scenario() -> None:
        async with push_stage(**options) as push:
            await scene(push)

    run_virtual(scenario())


def test_every_token_is_registered_on_one_connection() -> None:
    async def scene(push: PushStage) -> None:
        push.watch("1")
        push.watch("2")
        await settle()
        push.watch("3")
        await settle()
        assert [socket.tokens for socket in push.sockets] == [["tok-1", "tok-2", "tok-3"]]
        assert not push.hub.is_proven

    on_stage(scene)


def test_no_connection_is_opened_before_there_is_a_task() -> None:
    async def scene(push: PushStage) -> None:
        await asyncio.sleep(100)
        assert push.dials == []

    on_stage(scene)


def test_a_task_without_a_token_is_followed_once_a_look_tells_it() -> None:
    async def scene(push: PushStage) -> None:
        push.watch(has_token=False)
        await asyncio.sleep(1)
        assert push.dials == []
        await asyncio.sleep(1.5)
        assert push.socket.tokens == ["tok-1"]

    on_stage(scene)


def test_the_end_is_looked_at_at_once() -> None:
    async def scene(push: PushStage) -> None:
        watch = push.watch()
        await asyncio.sleep(1)
        push.statuses["1"] = END
        push.socket.say("tok-1", END, [{"url": "https://cdn1.wiro.ai/0.png"}])
        await watch.wait_done()
        assert push.looks() == [1.0]

    on_stage(scene)


def test_a_frame_alone_decides_nothing() -> None:
    async def scene(push: PushStage) -> None:
        watch = push.watch()
        await asyncio.sleep(1)
        push.socket.say("tok-1", "task_cancel")
        await asyncio.sleep(60)
        assert not watch.is_done

    on_stage(scene)


def test_a_task_that_is_spoken_for_is_looked_at_seldom_and_the_others_as_ever() -> None:
    async def scene(push: PushStage) -> None:
        push.watch("1")
        push.watch("2")
        await settle()
        for second in range(100):
            push.socket.say("tok-1", "task_output" if second % 2 else "task_start")
            await asyncio.sleep(1)
        assert len(push.looks("1")) <= 1
        assert len(push.looks("2")) >= 45

    on_stage(scene)


def test_a_silent_task_keeps_a_slow_look_while_it_agrees() -> None:
    async def scene(push: PushStage) -> None:
        push.watch()
        await settle()
        push.socket.say("tok-1", "task_start")
        await asyncio.sleep(600)
        gaps = [later - earlier for earlier, later in pairwise(push.looks())]
        assert 10 <= len(gaps) <= 20
        assert gaps == sorted(gaps), "as old as the task is, up to a minute"
        assert max(gaps) == pytest.approx(60, abs=2.1)

    on_stage(scene)


def test_a_look_that_shows_what_the_socket_did_not_say_ends_the_trust() -> None:
    async def scene(push: PushStage) -> None:
        push.watch()
        await settle()
        push.socket.say("tok-1", "task_start")
        await asyncio.sleep(3)
        push.statuses["1"] = "task_output"
        await asyncio.sleep(100)
        gaps = [later - earlier for earlier, later in pairwise(push.looks())]
        assert gaps == pytest.approx([2.0] * len(gaps))

    on_stage(scene)


def test_detail_may_lag_behind_the_end() -> None:
    async def scene(push: PushStage) -> None:
        watch = push.watch()
        await asyncio.sleep(1)
        push.socket.say("tok-1", "task_start")
        push.socket.say("tok-1", END)
        await asyncio.sleep(0.25)
        push.statuses["1"] = END
        await watch.wait_done()
        assert push.looks() == pytest.approx([1.0, 1.1, 1.3])

    on_stage(scene)


def test_an_end_that_is_none_costs_a_few_looks_however_often_it_is_said() -> None:
    async def scene(push: PushStage) -> None:
        push.watch()
        await settle()
        for _ in range(1000):
            push.socket.say("tok-1", END)
            await asyncio.sleep(0.1)
        # Fifty of them are its own.
        assert 50 <= len(push.looks()) <= 70
        assert not push.hub.has_given_up

    on_stage(scene)


def test_a_noisy_log_asks_for_a_look_ever_less_often() -> None:
    async def scene(push: PushStage) -> None:
        watch = push.watch()
        await settle()
        for _ in range(1000):
            push.socket.say("tok-1", "task_error", "a warning")
            await asyncio.sleep(0.1)
        gaps = [later - earlier for earlier, later in pairwise(push.looks())]
        assert 5 <= len(gaps) <= 15
        assert min(gaps) >= 0.999
        push.statuses["1"] = "task_error"
        push.socket.say("tok-1", "task_error", "out of memory")
        await asyncio.sleep(20)
        assert watch.is_done

    on_stage(scene)


def test_one_look_serves_an_error_and_the_end_behind_it() -> None:
    async def scene(push: PushStage) -> None:
        watch = push.watch()
        await asyncio.sleep(1)
        push.statuses["1"] = END
        push.socket.say("tok-1", "task_error", "The model gave up.")
        push.socket.say("tok-1", END)
        await watch.wait_done()
        await asyncio.sleep(1)
        assert push.looks() == [1.0]

    on_stage(scene)


def test_a_fatal_error_that_is_all_that_comes_is_looked_at_soon() -> None:
    async def scene(push: PushStage) -> None:
        watch = push.watch()
        await asyncio.sleep(0.5)
        push.statuses["1"] = "task_error"
        push.socket.say("tok-1", "task_error", "No worker.")
        await watch.wait_done()
        assert push.looks() == pytest.approx([0.6])

    on_stage(scene)


def test_frames_of_others_and_odd_ones_are_nothing() -> None:
    async def scene(push: PushStage) -> None:
        push.watch()
        await settle()
        for text in ("", "{", "null", '{"type":"connected"}', '{"type":"task_end"}'):
            push.socket.say_text(text)
        push.socket.say("somebody else's", END)
        push.socket.say("tok-1", "task_info")
        await asyncio.sleep(7)
        assert push.looks() == pytest.approx([2.0, 4.0, 6.0])
        assert not push.hub.is_proven
        assert len(push.sockets) == 1

    on_stage(scene)


async def live(push: PushStage, task_id: str, *, seconds: float = 7.0) -> Watch:
    """A task from its beginning to its end, by looks alone."""
    watch = push.watch(task_id)
    await asyncio.sleep(seconds)
    push.statuses[task_id] = END
    await watch.wait_done()
    await asyncio.sleep(1.5)  # what is late may come
    return watch


def test_a_socket_that_says_nothing_of_three_tasks_is_given_up() -> None:
    async def scene(push: PushStage) -> None:
        for number in range(3):
            assert not push.hub.has_given_up
            await live(push, str(number))
        assert push.hub.has_given_up
        assert push.socket.is_closed
        push.watch("9")
        await asyncio.sleep(1)
        assert len(push.dials) == 1

    on_stage(scene)


def test_tasks_that_were_spoken_of_and_tasks_too_short_to_tell_speak_for_the_socket() -> None:
    async def scene(push: PushStage) -> None:
        for number in range(12):
            watch = push.watch(str(number))
            await settle()
            if number % 3 == 2:
                push.socket.say(f"tok-{number}", "task_start")
            await asyncio.sleep(7)
            push.statuses[str(number)] = END
            await watch.wait_done()
            await asyncio.sleep(1.5)
        for number in range(100, 110):
            await live(push, str(number), seconds=3)
        assert not push.hub.has_given_up

    on_stage(scene)


def test_a_frame_that_comes_a_moment_after_detail_is_none_too_late() -> None:
    async def scene(push: PushStage) -> None:
        for number in range(6):
            watch = push.watch(str(number))
            await asyncio.sleep(7)
            push.statuses[str(number)] = END
            await watch.wait_done()
            push.socket.say(f"tok-{number}", END)
            await asyncio.sleep(5)
        assert not push.hub.has_given_up
        assert push.hub._tasks == {}

    on_stage(scene)


def test_a_task_that_is_watched_again_a_moment_after_its_end_is_followed_on() -> None:
    async def scene(push: PushStage) -> None:
        watch = push.watch()
        await asyncio.sleep(7)
        push.statuses["1"] = END
        await watch.wait_done()
        push.statuses["1"] = "task_start"  # as if it had never ended
        again = push.watch()
        await asyncio.sleep(1.5)
        push.statuses["1"] = END
        push.socket.say("tok-1", END)
        await settle()
        assert again.is_done
        assert push.hub._tasks == {}

    on_stage(scene)


def test_a_line_whose_tasks_are_over_dials_no_more() -> None:
    async def scene(push: PushStage) -> None:
        watch = push.watch()
        await settle()
        push.statuses["1"] = END
        push.stage.tracker.look_now(watch)
        await watch.wait_done()
        await asyncio.sleep(100)
        assert push.dials == [0.0]
        assert push.hub._lines == []

    on_stage(scene, refusals=1)


def test_giving_up_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="wiro_async")

    async def scene(push: PushStage) -> None:
        push.hub.give_up("enough")
        push.hub.give_up("enough again")

    on_stage(scene)
    assert caplog.messages == ["the service's socket is not used any more: enough"]


def test_a_lost_connection_is_dialled_again_and_everything_registered() -> None:
    async def scene(push: PushStage) -> None:
        done = push.watch("0")
        push.watch("1")
        push.watch("2")
        await settle()
        push.statuses["0"] = END
        push.socket.say("tok-0", END)
        push.socket.say("tok-1", "task_start")
        await done.wait_done()
        await asyncio.sleep(1)
        push.socket.cut()
        await asyncio.sleep(0.1)
        assert len(push.looks("1")) == 1, "what was put off is looked at now"
        assert push.looks("2") == []
        await asyncio.sleep(1)
        assert push.sockets[0].is_closed
        assert push.socket.tokens == ["tok-1", "tok-2"]
        # And as long as nothing is heard, as often as any other.
        await asyncio.sleep(8)
        assert abs(len(push.looks("1")) - len(push.looks("2"))) <= 1

    on_stage(scene)


def test_connections_that_are_lost_again_and_again_are_dialled_with_growing_waits() -> None:
    async def scene(push: PushStage) -> None:
        push.watch()
        for _ in range(1000):
            await asyncio.sleep(0.01)
            if push.sockets and not push.socket.is_closed:
                push.socket.say("somebody else's", "task_start")  # of no use to us
                push.socket.cut()
        assert push.hub._is_resting
        gaps = [later - earlier for earlier, later in pairwise(push.dials)]
        assert gaps == pytest.approx([0.375, 0.75, 1.5], abs=0.05)

    on_stage(scene)


def test_a_connection_that_was_of_use_begins_the_waits_anew() -> None:
    async def scene(push: PushStage) -> None:
        push.watch()
        for _ in range(20):
            await asyncio.sleep(1)
            push.socket.say("tok-1", "task_start")
            await settle()
            push.socket.cut()
        assert len(push.dials) == 20

    on_stage(scene)


def test_a_socket_that_cannot_be_reached_is_tried_once_more_much_later() -> None:
    async def scene(push: PushStage) -> None:
        push.watch()
        await asyncio.sleep(1000)
        assert len(push.dials) == 8
        assert max(later - earlier for earlier, later in pairwise(push.dials)) > 290
        assert push.hub.has_given_up
        assert len(push.looks()) >= 495

    on_stage(scene, refusals=1000)


def test_after_the_rest_what_runs_is_registered() -> None:
    async def scene(push: PushStage) -> None:
        push.watch("1")
        await asyncio.sleep(10)
        push.watch("2")
        await asyncio.sleep(400)
        assert push.socket.tokens == ["tok-1", "tok-2"]
        assert not push.hub.has_given_up

    on_stage(scene, refusals=4)


def test_more_tasks_take_more_connections() -> None:
    async def scene(push: PushStage) -> None:
        for number in range(1200):
            push.watch(str(number))
        await asyncio.sleep(0.5)
        assert sorted(len(socket.tokens) for socket in push.sockets) == [200, 500, 500]
        assert len({token for socket in push.sockets for token in socket.tokens}) == 1200

    on_stage(scene)


def test_a_service_that_takes_one_connection_keeps_it() -> None:
    async def scene(push: PushStage) -> None:
        for number in range(500):
            push.watch(str(number))
        await settle()
        push.socket.say("tok-0", "task_start")
        await settle()
        push.refusals = 1000
        push.watch("500")
        await asyncio.sleep(30)
        push.watch("501")
        await asyncio.sleep(30)
        assert len(push.dials) == 5
        assert not push.socket.is_closed
        assert len(push.looks("500")) >= 28
        push.statuses["0"] = END
        push.socket.say("tok-0", END)
        await asyncio.sleep(1)
        push.watch("502")
        await settle()
        assert push.socket.tokens[-1] == "tok-502"

    on_stage(scene)


def test_a_connection_without_tasks_is_closed_after_a_while_and_opened_again() -> None:
    async def scene(push: PushStage) -> None:
        first = push.watch("1")
        await settle()
        push.statuses["1"] = END
        push.socket.say("tok-1", END)
        await first.wait_done()
        await asyncio.sleep(29)
        assert len(push.hub._lines) == 1
        await asyncio.sleep(2)
        assert push.socket.is_closed
        assert push.hub._lines == []
        push.watch("2")
        await settle()
        assert [socket.tokens for socket in push.sockets] == [["tok-1"], ["tok-2"]]

    on_stage(scene)


def test_a_task_in_time_keeps_the_connection() -> None:
    async def scene(push: PushStage) -> None:
        for number in range(5):
            watch = push.watch(str(number))
            await settle()
            push.statuses[str(number)] = END
            push.socket.say(f"tok-{number}", END)
            await watch.wait_done()
            await asyncio.sleep(20)
        assert len(push.sockets) == 1

    on_stage(scene)


def test_nothing_is_kept_of_a_task_that_ended() -> None:
    async def scene(push: PushStage) -> None:
        for number in range(50):
            watch = push.watch(str(number))
            await settle()
            if number % 2:
                push.socket.say(f"tok-{number}", "task_error", "a line")
            push.statuses[str(number)] = END
            push.stage.tracker.look_now(watch)
            await watch.wait_done()
        await asyncio.sleep(3)
        assert push.hub._tasks == {}
        assert [line.tasks for line in push.hub._lines] == [{}]

    on_stage(scene)


def test_two_watches_of_one_task_are_one_registration() -> None:
    async def scene(push: PushStage) -> None:
        first, second = push.watch(), push.watch()
        await settle()
        assert push.socket.tokens == ["tok-1"]
        push.statuses["1"] = END
        push.socket.say("tok-1", END)
        await first.wait_done()
        await second.wait_done()
        assert push.looks() == [0.0, 0.0]

    on_stage(scene)


@pytest.mark.parametrize("place", ["follow", "on_look", "_leave"])
def test_a_bug_of_the_hub_is_nobody_else_s(place: str) -> None:
    """Whatever fails in here, the task is watched to its end."""

    async def scene(push: PushStage) -> None:
        broken = {"follow": "_carry", "on_look": "_vouch", "_leave": "_forget"}[place]
        with mock.patch.object(type(push.hub), broken, side_effect=RuntimeError("a bug")):
            watch = push.watch()
            await settle()
            if push.sockets:
                push.socket.say("tok-1", "task_start")
            await asyncio.sleep(3)
            push.statuses["1"] = END
            await watch.wait_done()
        assert push.hub.has_given_up
        assert watch.error is None

    on_stage(scene)


def test_a_bug_in_a_line_gives_the_socket_up() -> None:
    async def scene(push: PushStage) -> None:
        watch = push.watch()
        await settle()
        push.socket.bug = RuntimeError("a bug")
        push.watch("2")
        await asyncio.sleep(3)
        assert push.hub.has_given_up
        assert push.looks() == [2.0]
        assert not watch.is_done

    on_stage(scene)


def test_a_given_up_socket_leaves_no_look_put_off() -> None:
    async def scene(push: PushStage) -> None:
        push.watch()
        await asyncio.sleep(100)
        push.socket.say("tok-1", "task_start")
        await settle()
        before = len(push.looks())
        push.hub.give_up("enough")
        await asyncio.sleep(10)
        assert len(push.looks()) - before >= 5

    on_stage(scene)


class _Stuck(FakeSocket):
    """Its other side takes nothing and says nothing."""

    async def send(self, text: str) -> None:
        del text
        await asyncio.Event().wait()


def test_closing_waits_for_nobody() -> None:
    async def scene(push: PushStage) -> None:
        push.watch()
        await settle()
        push.watch("2")
        await settle()
        push.hub.dial = lambda: asyncio.sleep(3600, _Stuck(0.0))
        push.socket.cut()
        await asyncio.sleep(5)
        async with asyncio.timeout(1):
            await push.hub.aclose()
        assert push.hub._lines == []

    on_stage(scene)
