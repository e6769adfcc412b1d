"""Half an answer gives the names that are whole in it, and never a part or a stranger's."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wiro_async.errors import ApiError
from wiro_async.protocol.responses import Answer, Started, decode_run
from wiro_async.protocol.salvage import salvage_run

TOKEN = "eDcCm5yyUfIvMFspTwww49OUfgXkQt"
TRAP = '"taskid":"666", "socketaccesstoken":"trap"} {"taskid":"667"'


def started(task_id: str | None = None, token: str | None = None) -> Started:
    return Started(task_id=task_id, token=token)


def end_of(answer: bytes, last: bytes) -> int:
    """Where the one occurrence of `last` ends."""
    assert answer.count(last) == 1, last
    return answer.index(last) + len(last)


# Whole answers, and after what text of theirs each of the two names is certain.
ANSWERS: dict[str, tuple[bytes, bytes | None, bytes | None]] = {
    "the documented one": (
        b'{"errors":[],"taskid":"2221","socketaccesstoken":"%b","result":true}' % TOKEN.encode(),
        b'"taskid":"2221"',
        b'"socketaccesstoken":"%b"' % TOKEN.encode(),
    ),
    "with spaces, the token first": (
        b' {\n\t"socketaccesstoken" : "%b" ,\r\n "taskid" : "2221" , "result" : true }\n'
        % TOKEN.encode(),
        b'"taskid" : "2221"',
        b'"socketaccesstoken" : "%b"' % TOKEN.encode(),
    ),
    "a number before a comma": (
        b'{"result":true,"taskid":2221,"socketaccesstoken":null}',
        b'"taskid":2221,',
        None,
    ),
    "a number before a brace": (b'{"result":true,"taskid":2221}', b'"taskid":2221}', None),
    "a number before a space": (b'{"taskid":2221 ,"result":1}', b'"taskid":2221 ', None),
    "wrapped in data": (
        b'{"result":true,"data":{"taskid":"2221","socketaccesstoken":"%b","errors":[]},"x":1}'
        % TOKEN.encode(),
        b'"taskid":"2221"',
        b'"socketaccesstoken":"%b"' % TOKEN.encode(),
    ),
    "wrapped twice in data": (
        b'{"data":{"data":{"taskid":"3"},"taskid":"2221"}}',
        b'"taskid":"2221"',
        None,
    ),
    "a name written with escapes": (
        rb'{"t\u0061skid":"22\u00321","socketaccesstoken":"' + TOKEN.encode() + b'"}',
        rb'"22\u00321"',
        TOKEN.encode() + b'"',
    ),
    "after a prompt that holds names": (
        b'{"prompt":%b,"errors":[{"taskid":"1"},["taskid","2"]],"taskid":"2221"}'
        % json.dumps(TRAP).encode(),
        b'"taskid":"2221"',
        None,
    ),
    "after an object that holds names": (
        b'{"task":{"taskid":"1","data":{"taskid":"2"}},"taskid":"2221","data":{"a":{"taskid":"3"}}}',
        b'"taskid":"2221"',
        None,
    ),
    "with letters of several bytes": (
        '{"prompt":"ein Häuschen 🏠","taskid":"2221","note":"日本"}'.encode(),
        b'"taskid":"2221"',
        None,
    ),
    "with a mark of the byte order": (
        b'\xef\xbb\xbf{"taskid":"2221"}',
        b'"taskid":"2221"',
        None,
    ),
    "with names that are none": (
        b'{"taskid":"0","socketaccesstoken":" ","data":{"taskid":0}}',
        None,
        None,
    ),
    "a refusal": (b'{"result":false,"errors":[{"code":96,"message":"taskid"}]}', None, None),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_every_beginning_gives_the_names_that_are_whole_in_it(name: str) -> None:
    answer, after_id, after_token = ANSWERS[name]
    id_at = None if after_id is None else end_of(answer, after_id)
    token_at = None if after_token is None else end_of(answer, after_token)
    for cut in range(len(answer) + 1):
        task_id = "2221" if id_at is not None and cut >= id_at else None
        token = TOKEN if token_at is not None and cut >= token_at else None
        expected = started(task_id, token) if task_id or token else None
        assert salvage_run(answer[:cut]) == expected, answer[:cut]


@pytest.mark.parametrize("name", ANSWERS)
def test_a_whole_answer_is_read_as_ever(name: str) -> None:
    answer = Answer(http_status=200, body=ANSWERS[name][0])
    try:
        expected = decode_run(answer, "/Run/o/m")
    except ApiError:
        expected = None
    assert salvage_run(answer.body) == expected


@pytest.mark.parametrize(
    "junk",
    [
        b"",
        b"\x00\xff\xfe",
        b"<html><body>502 Bad Gateway</body></html>",
        b'<script>{"taskid":"2221"}</script>',
        b"hello",
        b"null",
        b"2221",
        b'"taskid"',
        b'["taskid","2221"]',
        b'[{"taskid":"2221"}]',
        b'"{\\"taskid\\":\\"2221\\"}"',
        b'{"taskid" "2221"}',
        b'{"taskid","2221"}',
        b'{,"taskid":"2221"}',
        b'{"a":1 "taskid":"2221"}',
        b"{'taskid':'2221'}",
        b'{taskid:"2221"}',
        b'{1:2,"taskid":"2221"}',
        b'{"taskid":2221.}',
        b'{"taskid":-}',
        b'{"taskid":["2221"]}',
        b'{"taskid":"22\xff21"}',
        b'{"taskid":"22\n21"}',
        b'{"data":"taskid","x":[{"taskid":"2221"}',
        b'{"data":[{"taskid":"2221"}',
        b'{"a":' + b"[" * 200_000,
        b'{"data":' * 200_000,
        b'{"taskid":' + b"1" * 10_000 + b"}",
    ],
    ids=lambda junk: repr(junk[:30]),
)
def test_junk_names_no_task(junk: bytes) -> None:
    assert salvage_run(junk) is None


def test_what_came_before_something_unreadable_counts() -> None:
    assert salvage_run(b'{"taskid":"2221","note":"\xff","x":') == started("2221")
    assert salvage_run(b'{"taskid":"2221","note":\n<html>') == started("2221")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
TEXTS = st.text() | st.sampled_from([TRAP, '{"taskid":"9"}', '\\"', '"', "\\", "\ud83d"])
NAMES = st.text("0123456789abcXYZ-_", min_size=1).filter(lambda name: name != "0")


@st.composite
def answers(draw: st.DrawFn) -> tuple[bytes, str, str]:
    """A Run's answer, its members in any order, and the two names in it."""
    task_id = draw(NAMES | st.integers(1, 10**12))
    token = draw(NAMES)
    extra = draw(st.dictionaries(st.text().filter(lambda name: name != "data"), VALUES, max_size=3))
    members: dict[str, object] = {
        **extra,
        "prompt": draw(TEXTS),
        "task": {"taskid": "666", "data": {"socketaccesstoken": "trap"}},
        "taskid": task_id,
        "socketaccesstoken": token,
    }
    answer = {name: members[name] for name in draw(st.permutations(sorted(members)))}
    text = json.dumps(
        {"result": True, "data": answer} if draw(st.booleans()) else answer,
        ensure_ascii=draw(st.booleans()),
        indent=draw(st.sampled_from([None, 2])),
    )
    return text.encode(errors="replace"), str(task_id), token


UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@UNHURRIED
@given(answers(), st.lists(st.floats(0, 1), min_size=10))
def test_any_cut_of_any_answer_gives_the_right_names_or_none(
    made: tuple[bytes, str, str], cuts: list[float]
) -> None:
    body, task_id, token = made
    for cut in cuts:
        found = salvage_run(body[: int(cut * len(body))])
        if found is not None:
            assert found.task_id in {None, task_id}
            assert found.token in {None, token}
    assert salvage_run(body) == started(task_id, token)


@UNHURRIED
@given(st.binary() | st.text().map(str.encode) | VALUES.map(json.dumps).map(str.encode))
def test_nothing_makes_it_raise(partial: bytes) -> None:
    assert salvage_run(partial) is None or b"taskid" in partial or b"socketaccess" in partial
