"""Every endpoint over real HTTP: what it takes, what it answers, what it refuses."""

import json
from decimal import Decimal
from typing import Any

import aiohttp
import pytest

from tests.emulator.asking import ECHO, FLUX, REPAINT, Asker, asking, headers_for
from wiro_async.emulator import bodies

PROMPT = {"prompt": "a lighthouse"}


async def test_from_run_to_file() -> None:
    async with asking() as ask:
        reply = await ask(FLUX, PROMPT)
        assert reply.json.keys() == {"errors", "taskid", "socketaccesstoken", "result"}
        assert reply.json["result"] is True
        task = await ask.finish(reply.json["taskid"])
        again = await ask("Task/Detail", {"tasktoken": reply.json["socketaccesstoken"]})
        assert again.json["total"] == "1"
        assert again.task["outputs"] == task["outputs"]
        (output,) = task["outputs"]
        file = await ask.get(output["url"])
        assert (file.status, file.headers["Content-Type"]) == (200, "image/png")
        assert file.body.startswith(b"\x89PNG")
        assert output["size"] == str(len(file.body))
        books = ask.emulator.books
        assert books.spent == Decimal("0.06")
        assert books.requests["Run"] == books.requests["cdn"] == 1
        assert books.answers == {"ok": sum(books.requests.values())}
        (booked,) = books.tasks.values()
        assert booked.requests == books.requests["Task/Detail"]


BODY = json.dumps(PROMPT)
BODIES: dict[str, dict[str, Any]] = {
    "json": {"data": BODY, "headers": {"Content-Type": "application/json"}},
    "the page's recipe": {"data": BODY, "headers": {"Content-Type": "multipart/form-data"}},
    "curl -d": {"data": BODY, "headers": {"Content-Type": "application/x-www-form-urlencoded"}},
    "json with numbers": {
        "data": '{"prompt": "a lighthouse", "seed": 1, "promptUpsampling": true}'
    },
}


@pytest.mark.parametrize("kind", BODIES)
async def test_every_kind_of_body_is_read(kind: str) -> None:
    async with asking() as ask:
        reply = await ask(FLUX, **BODIES[kind])
        assert reply.json["result"] is True
        assert list(ask.emulator.books.tasks_by_prompt) == ["a lighthouse"]


async def test_real_parts_are_read() -> None:
    form = aiohttp.FormData(PROMPT, default_to_multipart=True, quote_fields=False)
    form.add_field("inputImage", b"bytes", filename="a/b c.png", content_type="image/png")
    form.add_field("inputMasks", b"one", filename="one.png", content_type="image/png")
    form.add_field("inputMasks", b"two", filename="two.png", content_type="image/png")
    form.add_field("inputMasks", "https://e.test/three.png")
    form.add_field("inputMasks", "https://e.test/four.png")
    form.add_field("inputMasks", "https://e.test/five.png")
    async with asking() as ask:
        task_id = (await ask(REPAINT, data=form)).json["taskid"]
        parameters = (await ask.detail(task_id))["parameters"]
        assert parameters["prompt"] == "a lighthouse"
        stored = await ask.get(parameters["inputImage"])
        assert (stored.body, stored.headers["Content-Type"]) == (b"bytes", "image/png")
        assert parameters["inputImage"].endswith("/b%20c.png")
        assert [url.rpartition("/")[2] for url in parameters["inputMasks"]] == [
            "one.png",
            "two.png",
            "three.png",
            "four.png",
            "five.png",
        ]


NESTED = (
    b"--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n\r\nx\r\n--c--\r\n--b--\r\n"
)


@pytest.mark.parametrize(
    "request_",
    [
        {"data": b""},
        {"data": b"{"},
        {"data": b"[]"},
        {"data": b"\xff"},
        {"data": b"[" * 100_000},
        {"data": b"prompt=a", "headers": {"Content-Type": "application/x-www-form-urlencoded"}},
        {"data": b"no parts", "headers": {"Content-Type": "multipart/form-data; boundary=b"}},
        {"data": NESTED, "headers": {"Content-Type": "multipart/form-data; boundary=b"}},
        {
            "data": b"--b\r\n\r\nnameless\r\n--b--\r\n",
            "headers": {"Content-Type": "multipart/form-data; boundary=b"},
        },
    ],
)
async def test_bodies_that_cannot_be_read(request_: dict[str, Any]) -> None:
    async with asking() as ask:
        reply = await ask(FLUX, **request_)
        assert reply.error == (0, "Request parameters are invalid.")
        assert ask.emulator.books.answers == {"code 0": 1}


@pytest.mark.parametrize(
    ("endpoint", "fields", "code", "message"),
    [
        (FLUX, {}, 0, "Request parameter [prompt] required"),
        ("Run/nobody/nothing", PROMPT, 1, "slug-owner-project-not-exist"),
        ("Task/Detail", {}, 0, "taskid or socketaccesstoken is required"),
        ("Task/Detail", {"taskid": ""}, 0, "taskid or socketaccesstoken is required"),
        ("Task/Detail", {"socketaccesstoken": "x"}, 0, "taskid or socketaccesstoken is required"),
        ("Task/Detail", {"taskid": "1"}, 1, "There is no task yet."),
        ("Task/Detail", {"tasktoken": "x"}, 1, "There is no task yet."),
        ("Task/Kill", {}, 0, "taskid or socketaccesstoken is required"),
        ("Task/Kill", {"socketaccesstoken": "x"}, 1, "There is no task yet."),
        ("Task/Cancel", {"socketaccesstoken": "x"}, 0, "taskid or socketaccesstoken is required"),
        ("Task/Cancel", {"taskid": 7}, 1, "There is no task yet."),
        ("Task/List", {"limit": "many"}, 0, "Request parameter [limit] must be integer or float"),
        ("Task/InputOutputDelete", {}, 0, "Request parameter [tasktoken] required"),
        ("Task/InputOutputDelete", {"tasktoken": "x"}, 1, "task-not-exist"),
        ("Tool/List", {"start": -1}, 0, "Request parameter [start] must be integer or float"),
        ("Tool/Detail", {"slugowner": "x"}, 0, "Request parameter [slugproject] required"),
        ("Tool/Detail", {"slugowner": "x", "slugproject": "y"}, 1, "slug-owner-project-not-exist"),
        ("File/Upload", {}, 0, "Request files [file] required"),
        ("File/FolderCreate", {}, 0, "Request parameter [name] required"),
        ("File/FolderCreate", {"name": "a b"}, 0, "Request parameter [name] is not valid"),
    ],
)
async def test_refusals(endpoint: str, fields: dict[str, Any], code: int, message: str) -> None:
    async with asking() as ask:
        reply = await ask(endpoint, fields)
        assert (reply.status, reply.json["result"], reply.error) == (200, False, (code, message))
        assert ask.emulator.books.answers == {f"code {code}": 1}
        assert not ask.emulator.books.tasks


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({}, "Project authorization is not founded."),
        ({"x-api-key": "emulator-key"}, "Project requires signature authentication."),
        (headers_for("emulator-key", "wrong"), "Project authorization is not valid."),
    ],
)
async def test_strangers_are_turned_away(headers: dict[str, str], message: str) -> None:
    async with asking() as ask:
        url = f"{ask.emulator.base_url}/{FLUX}"
        async with ask.http.post(url, json=PROMPT, headers=headers) as response:
            assert response.status == 401
            assert message in (await response.json())["errors"][0]["message"]
        assert ask.emulator.books.answers == {"http 401": 1}
        assert not ask.emulator.books.tasks


async def test_a_key_only_project() -> None:
    async with asking(api_secret=None) as ask:
        assert (await ask(FLUX, PROMPT)).json["result"] is True


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/v1/Task/Detail"), ("POST", "/v1/Task/Nothing"), ("PUT", "/"), ("POST", "/cdn/a/b")],
)
async def test_wrong_paths_and_methods(method: str, path: str) -> None:
    async with asking() as ask:
        async with ask.http.request(method, f"{ask.emulator.origin}{path}") as response:
            assert response.status == 404
            payload = await response.json()
        assert payload == {
            "errors": [{"code": 0, "message": "Error parsing url."}],
            "result": False,
        }
        assert ask.emulator.books.requests == {"unknown": 1}


async def test_the_limit_and_the_balance_over_http() -> None:
    async with asking(balance=Decimal("20.05"), speed=1.0, median_seconds=1e6) as ask:
        for _ in range(2):
            await ask.run()
        assert (await ask(FLUX, PROMPT)).error[0] == 96
    async with asking(balance=Decimal("0.05")) as ask:
        assert (await ask(FLUX, PROMPT)).error == (97, "Insufficient balance")


async def slow(ask: Asker) -> tuple[str, str]:
    run = (await ask(FLUX, PROMPT)).json
    return run["taskid"], run["socketaccesstoken"]


@pytest.mark.parametrize("name", ["taskid", "tasktoken"])
async def test_cancel(name: str) -> None:
    async with asking(speed=1.0, median_seconds=1e6) as ask:
        named = dict(zip(("taskid", "tasktoken"), await slow(ask), strict=True))
        told = (await ask("Task/Cancel", {name: named[name]})).task
        assert (told["status"], told["canceltime"]) == ("task_cancel", "0")
        assert (await ask.detail(named["taskid"]))["canceltime"] != "0"
        again = await ask("Task/Cancel", {name: named[name]})
        assert again.error == (1, "Task is not in a cancellable state.")


@pytest.mark.parametrize("name", ["taskid", "tasktoken", "socketaccesstoken"])
async def test_kill(name: str) -> None:
    # Ten thousand service seconds a second: assigned after 0.12 of a task of 1e6.
    async with asking(speed=1e7, median_seconds=1e7, sigma=0.0) as ask:
        task_id, token = await slow(ask)
        fields = {name: task_id if name == "taskid" else token}
        assert (await ask("Task/Kill", fields)).error[0] == 1
        while (await ask.detail(task_id))["assigntime"] == "0":
            pass
        assert (await ask("Task/Cancel", {"taskid": task_id})).error[0] == 1
        assert (await ask("Task/Kill", fields)).task["status"] == "task_cancel"
        assert ask.emulator.books.spent == 0


async def test_list_is_newest_first_and_paged() -> None:
    async with asking() as ask:
        ids = [await ask.run(str(n)) for n in range(3)]
        await ask(ECHO, {"prompt": "hello"})
        reply = await ask("Task/List", {"type": "model", "start": "1", "limit": "2"})
        assert reply.json["total"] == "4"
        assert [task["id"] for task in reply.json["tasklist"]] == [ids[2], ids[1]]
        reply = await ask("Task/List", {"modelName": "echo-llm"})
        assert [task["modelslugproject"] for task in reply.json["tasklist"]] == ["echo-llm"]


async def test_deleting_files() -> None:
    async with asking(speed=1.0, median_seconds=0.2, sigma=0.0) as ask:
        task_id, token = await slow(ask)
        early = await ask("Task/InputOutputDelete", {"tasktoken": token})
        assert early.error[1] == "Task must be completed or cancelled before deleting files"
        url = (await ask.finish(task_id))["outputs"][0]["url"]
        for _ in range(2):
            reply = await ask("Task/InputOutputDelete", {"tasktoken": token})
            assert reply.json == {"errors": [], "result": True}
        assert (await ask.detail(task_id))["outputs"] == []
        assert (await ask.get(url)).status == 404
        assert ask.emulator.books.answers["http 404"] == 1


async def test_models_are_listed_and_told() -> None:
    async with asking() as ask:
        found = (await ask("Tool/List", {"search": "flux", "summary": True})).json
        assert (found["total"], len(found["tool"])) == (1, 1)
        assert found["tool"][0]["parameters"] is None
        page = (await ask("Tool/List", {"start": "1", "limit": 1, "order": "desc"})).json
        assert (page["total"], [tool["id"] for tool in page["tool"]]) == (3, ["9001"])
        tagged = (await ask("Tool/List", {"categories": ["llm"], "tags": []})).json
        assert [tool["slugproject"] for tool in tagged["tool"]] == ["echo-llm"]
        names = {"slugowner": "black-forest-labs", "slugproject": "flux-pro-1-1-ultra"}
        (told,) = (await ask("Tool/Detail", names)).json["tool"]
        assert told["parameters"][0]["items"][0]["id"] == "prompt"
        (shelf,) = (await ask("Tool/Explore", {})).json["explore"]
        assert len(shelf["tools"]) == 3


async def test_upload_and_folder() -> None:
    async with asking() as ask:
        (folder,) = (await ask("File/FolderCreate", {"name": "data_1"})).json["list"]
        form = aiohttp.FormData(
            {"folderid": folder["id"]}, default_to_multipart=True, quote_fields=False
        )
        form.add_field("file", b"a,b\n", filename="../../d\\set.csv", content_type="text/csv")
        (stored,) = (await ask("File/Upload", data=form)).json["list"]
        assert (stored["name"], stored["size"], stored["contenttype"]) == (
            "set.csv",
            "4",
            "text/csv",
        )
        assert stored["parentid"] == folder["id"]
        assert (await ask.get(stored["url"])).body == b"a,b\n"


async def test_a_file_that_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "MOST_BYTES_OF_A_FILE", 3)
    form = aiohttp.FormData(default_to_multipart=True)
    form.add_field("file", b"four", filename="set.csv")
    async with asking() as ask:
        reply = await ask("File/Upload", data=form)
        assert reply.error == (0, "Request files [file] must be 100 MB at most")


async def test_the_books_over_http() -> None:
    async with asking() as ask:
        task_id = await ask.run("a fox")
        books = (await ask.get(f"{ask.emulator.origin}/emulator/books")).json
        assert books["tasks_by_prompt"] == {"a fox": [task_id]}
        assert books["requests"] == {"Run": 1}


async def test_too_many_requests() -> None:
    async with asking(rate_limit=2.0) as ask:
        replies = [await ask(FLUX, PROMPT) for _ in range(4)]
        assert [reply.status for reply in replies] == [200, 200, 429, 429]
        assert 0 < float(replies[-1].headers["Retry-After"]) <= 0.5
        assert replies[-1].json["result"] is False
        assert ask.emulator.books.answers == {"ok": 2, "http 429": 2}
        assert len(ask.emulator.books.tasks) == 2
