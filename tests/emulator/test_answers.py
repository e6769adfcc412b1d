import json
from decimal import Decimal
from typing import Any

import pytest

from wiro_async.emulator.answers import Scribe, accepted, listed_model, refused
from wiro_async.emulator.books import BookedFile, BookedTask, Fate
from wiro_async.emulator.catalog import ECHO, FLUX, REPAINT
from wiro_async.emulator.refusals import NO_BALANCE
from wiro_async.emulator.world import Terms, Wish, World

SCRIBE = Scribe(epoch=1_734_513_800.5, origin="http://cdn.test")
PICTURE = BookedFile(
    name="0.png", path="/cdn/folder/0.png", content_type="image/png", size=202472, sha256=""
)
# The fields of the records on the model page, the longest of them.
PAGE_FIELDS = """
    id uuid name socketaccesstoken parameters debugoutput debugerror starttime endtime
    elapsedseconds status cps totalcost guestid projectid modelid description basemodelid
    runtype modelfolderid modelfileid callbackurl marketplaceid createtime canceltime
    assigntime accepttime preprocessstarttime preprocessendtime postprocessstarttime
    postprocessendtime pexit categories outputs size
"""
PAGE_OUTPUT_FIELDS = """
    id name contenttype parentid uuid size addedtime modifiedtime accesskey foldercount
    filecount ispublic expiretime url
"""


def made(now: float = 1.0, **wish: Any) -> tuple[World, BookedTask]:  # noqa: ANN401 (Wish's)
    world = World(Terms(median_seconds=10.0, sigma=0.0))
    task = world.run(Wish(**{"model": FLUX, "prompt": "a fox", **wish}), now)
    assert isinstance(task, BookedTask)
    return world, task


def test_a_queued_task_has_come_nowhere_yet() -> None:
    _, task = made(project_id="699", callback_url="http://me.test")
    record = SCRIBE.record(task, 1.0)
    assert record.keys() >= set(PAGE_FIELDS.split())
    assert record["status"] == "task_queue"
    assert record["createtime"] == "1734513801"
    times = [name for name in record if name.endswith("time") and name != "createtime"]
    assert len(times) == 9
    assert {record[name] for name in times} == {"0"}
    assert (record["pexit"], record["totalcost"], record["elapsedseconds"]) == ("", "0", "0.0000")
    assert (record["outputs"], record["size"]) == ([], "0")
    assert (record["projectid"], record["callbackurl"]) == ("699", "http://me.test")
    assert record["guestid"] is record["marketplaceid"] is None
    assert record["cps"] == "0.000000000000"


def test_a_succeeded_task_has_it_all_in_strings() -> None:
    world, task = made()
    world.picture_drawn(task.id, PICTURE, 5.0)
    world.settle(11.0)
    record = SCRIBE.record(task, 99.0)
    assert (record["status"], record["pexit"]) == ("task_postprocess_end", "0")
    assert record["totalcost"] == "0.060000000000"
    assert record["elapsedseconds"] == "8.6000"
    assert record["starttime"] == "1734513803"
    assert record["endtime"] == "1734513810"
    assert record["postprocessendtime"] == "1734513811"
    assert record["canceltime"] == "0"
    assert record["categories"].startswith('["tool","bfl"')
    (output,) = record["outputs"]
    assert output.keys() == set(PAGE_OUTPUT_FIELDS.split())
    assert output["url"] == "http://cdn.test/cdn/folder/0.png"
    assert (output["size"], record["size"]) == ("202472", "202472")
    assert (output["ispublic"], output["expiretime"]) == (0, None)


def test_deleted_files_are_not_listed() -> None:
    world, task = made()
    world.picture_drawn(task.id, PICTURE, 5.0)
    world.settle(11.0)
    task.deleted = True
    assert SCRIBE.record(task, 12.0)["outputs"] == []


@pytest.mark.parametrize(
    ("fate", "status", "elapsed"),
    [(Fate.FAIL, "task_postprocess_end", "8.6000"), (Fate.ERROR, "task_error", "0.0000")],
)
def test_a_failed_task_says_why_and_costs_nothing(fate: Fate, status: str, elapsed: str) -> None:
    world, task = made(fate=fate)
    world.settle(11.0)
    record = SCRIBE.record(task, 11.0)
    assert (record["status"], record["elapsedseconds"]) == (status, elapsed)
    assert (record["pexit"], record["totalcost"], record["outputs"]) == ("1", "0", [])
    assert record["debugerror"]
    assert record["postprocessendtime"] == ("1734513811" if fate is Fate.FAIL else "0")


@pytest.mark.parametrize(("second", "listed"), [(3.0, 0), (9.0, 1)])
def test_a_killed_task_looks_almost_as_if_it_had_succeeded(second: float, listed: int) -> None:
    world, task = made(fate=Fate.SUCCEED)
    world.picture_drawn(task.id, PICTURE, 2.5)
    world.find(second, task_id=task.id)
    assert world.kill(task, second) is None
    (told,) = SCRIBE.stopped(task, second)["tasklist"]
    later = SCRIBE.record(task, 99.0)
    assert (told["status"], told["canceltime"], told["pexit"]) == ("task_cancel", "0", "0")
    assert later["canceltime"] == str(int(1_734_513_800.5 + second))
    assert (later["postprocessendtime"], later["totalcost"]) == ("0", "0")
    assert later["debugerror"] == ""
    assert len(told["outputs"]) == len(later["outputs"]) == listed


def test_a_language_model_answers_in_two_places() -> None:
    world, task = made(model=ECHO)
    assert SCRIBE.record(task, 2.0)["debugoutput"] == ""
    world.settle(11.0)
    record = SCRIBE.record(task, 11.0)
    text = "You said: a fox"
    content = {"prompt": "a fox", "raw": text, "thinking": [], "answer": [text]}
    assert record["outputs"] == [{"contenttype": "raw", "content": content}]
    assert record["debugoutput"] == text


def test_a_language_model_that_failed_says_nothing() -> None:
    world, task = made(model=ECHO, fate=Fate.FAIL)
    world.settle(11.0)
    record = SCRIBE.record(task, 11.0)
    assert (record["outputs"], record["debugoutput"]) == ([], "")


def test_envelopes() -> None:
    assert accepted(taskid="1") == {"errors": [], "taskid": "1", "result": True}
    error = {"code": 97, "message": "Insufficient balance"}
    assert refused(NO_BALANCE) == {"errors": [error], "result": False}
    assert SCRIBE.tasks([], 0.0, total=12)["total"] == "12"


def test_a_model_is_listed_short_and_told_whole() -> None:
    short = listed_model(FLUX, Decimal("0.06"), whole=False)
    whole = listed_model(REPAINT, Decimal("0.06"), whole=True)
    assert short["parameters"] is None
    assert json.loads(short["dynamicprice"]) == [
        {"inputs": {}, "price": 0.06, "priceMethod": "cpr"}
    ]
    (group,) = whole["parameters"]
    table = {item["id"]: item for item in group["items"]}
    assert (table["strength"]["min"], table["strength"]["max"]) == (0, 1)
    assert "min" not in table["prompt"]
    (group,) = listed_model(FLUX, Decimal(1), whole=True)["parameters"]
    tolerance = next(item for item in group["items"] if item["id"] == "safetyTolerance")
    assert tolerance["options"] == [{"label": "2", "value": "2"}]
