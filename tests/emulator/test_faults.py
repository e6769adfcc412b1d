from typing import Any

import pytest

from wiro_async.emulator.faults import ACTIONS, API_ENDPOINTS, Fault, Script, parse_fault


def fired(fault: Fault, requests: int, prompt: str = "") -> list[int]:
    script = Script([fault])
    return [n for n in range(1, requests + 1) if script.pick("Run", prompt) is fault]


@pytest.mark.parametrize(
    ("settings", "struck"),
    [
        ({}, [1]),
        ({"times": 2}, [1, 2]),
        ({"times": None}, [1, 2, 3, 4, 5, 6, 7]),
        ({"skip": 2}, [3]),
        ({"every": 3, "times": None}, [3, 6]),
        ({"every": 2, "times": 2, "skip": 1}, [3, 5]),
        ({"match": "fox"}, []),
        ({"match": "lynx"}, [1]),
    ],
)
def test_which_requests_are_struck(settings: dict[str, Any], struck: list[int]) -> None:
    fault = Fault(endpoint="Run", action="drop_before", **settings)
    assert fired(fault, 7, "a lynx") == struck


def test_the_first_fault_on_the_list_wins_and_the_next_one_waits_its_turn() -> None:
    first = Fault(endpoint="Run", action="limit")
    second = Fault(action="drop_after")
    script = Script([first])
    script.add(second)
    assert script.pick("Task/Detail") is second
    assert script.pick("Run") is first
    assert script.pick("Run") is None


def test_a_star_reaches_every_endpoint_at_which_the_action_fits() -> None:
    for action, endpoints in ACTIONS.items():
        fault = Fault(action=action)
        endpoints_of_all = (*API_ENDPOINTS, "cdn")
        reached = {name for name in endpoints_of_all if fault.concerns(name, "", is_part=True)}
        assert reached == endpoints


def test_faults_of_parts_pass_over_requests_for_a_whole_file() -> None:
    script = Script([Fault(action="shift_range")])
    assert script.pick("cdn") is None
    assert script.pick("cdn", is_part=True) is not None


@pytest.mark.parametrize("action", ACTIONS)
def test_what_is_done_before_the_fault_strikes(action: str) -> None:
    after = {
        *("drop_after", "reset_after", "delay", "stall", "trickle", "truncate", "garbage"),
        *("mislabel", "gzip", "junk", "ignore_range", "shift_range", "change_tag"),
        *("fail_task", "error_task"),
    }
    assert Fault(action=action).done_first is (action in after)
    spoilt = action in after | {"status", "html", "empty"}
    assert Fault(action=action, task_made=True).done_first is spoilt


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"endpoint": "Walk", "action": "delay"}, "no endpoint 'Walk'.*or \\* for all"),
        ({"action": "explode"}, "no action 'explode'.*drop_before"),
        ({"endpoint": "cdn", "action": "limit"}, "limit happens at Run only, not at cdn"),
        ({"action": "delay", "times": 0}, "times must be 1 or more"),
        ({"action": "delay", "skip": -1}, "skip must be 0 or more"),
        ({"action": "delay", "every": 0}, "every must be 1 or more"),
        ({"action": "delay", "seconds": float("nan")}, "seconds must be 0 or more"),
        ({"action": "delay", "seconds": float("inf")}, "seconds must be 0 or more"),
        ({"action": "rate_limit", "retry_after": -1}, "retry_after must be 0 or more"),
        ({"action": "status", "status": 200}, "status"),
    ],
)
def test_nonsense_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Fault(**settings)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("Run:drop_after", Fault(endpoint="Run", action="drop_after")),
        ("*:delay:seconds=0.5", Fault(action="delay", seconds=0.5)),
        (
            "Run:rate_limit:times=1,retry_after=0.2",
            Fault(endpoint="Run", action="rate_limit", times=1, retry_after=0.2),
        ),
        (
            "Run:rate_limit:retry_after=none",
            Fault(endpoint="Run", action="rate_limit", retry_after=None),
        ),
        (
            "Task/Detail:status:status=500, times=always, skip=2, every=3",
            Fault(endpoint="Task/Detail", action="status", status=500, times=None, skip=2, every=3),
        ),
        (
            "Run:html:task_made=true,match=a: b",
            Fault(endpoint="Run", action="html", task_made=True, match="a: b"),
        ),
        ("Run:html:task_made=false", Fault(endpoint="Run", action="html")),
    ],
)
def test_a_fault_in_one_word(text: str, fault: Fault) -> None:
    assert parse_fault(text) == fault


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "write ENDPOINT:ACTION"),
        ("Run", "write ENDPOINT:ACTION"),
        ("Run:", "write ENDPOINT:ACTION"),
        ("Run:explode", "no action 'explode'"),
        ("Run:delay:slowly", "no option 'slowly' of a fault: use one of times"),
        ("Run:delay:seconds", "write seconds=VALUE"),
        ("Run:delay:seconds=long", "'seconds=long' is no value for seconds"),
        ("Run:html:task_made=maybe", "is no value for task_made"),
        ("Run:delay:times=0", "times must be 1 or more"),
    ],
)
def test_a_word_that_is_no_fault_teaches(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_fault(text)
