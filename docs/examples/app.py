"""A web app: type a prompt, watch the task, see the picture.

Run it with `WIRO_API_KEY` and `WIRO_API_SECRET` set, or against an emulator:

    python docs/examples/app.py

and open http://127.0.0.1:8000. It needs nothing but `wiro-async`. Who may use it is not asked:
put it behind a login before it spends money for strangers.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from aiohttp import web

from wiro_async import InvalidRequest, TaskEvent, TaskHandle, WiroError, WiroSession

MODEL = "black-forest-labs/flux-pro-1-1-ultra"
WIRO = web.AppKey("wiro", WiroSession)
HANDLES = web.AppKey("handles", dict[str, TaskHandle])

PAGE = """<!doctype html>
<title>Pictures</title>
<form><input name="prompt" placeholder="a lighthouse" size="60"> <button>Draw</button></form>
<p id="status"></p>
<p><img id="picture" width="640" alt=""></p>
<script>
  const status = document.getElementById("status");
  document.forms[0].onsubmit = async (submit) => {
    submit.preventDefault();
    const body = JSON.stringify({prompt: submit.target.prompt.value});
    const answer = await fetch("/tasks", {method: "POST", body});
    const told = await answer.json();
    if (!answer.ok) { status.textContent = told.error; return; }
    const events = new EventSource(`/tasks/${told.task}/events`);
    events.addEventListener("status", (event) => {
      const {status: name, percentage} = JSON.parse(event.data);
      status.textContent = percentage === null ? name : `${name} ${percentage} %`;
    });
    events.addEventListener("end", (event) => {
      events.close();
      const {error, pictures} = JSON.parse(event.data);
      status.textContent = error ?? "done";
      document.getElementById("picture").src = pictures[0] ?? "";
    });
  };
</script>
"""


async def show_page(_: web.Request) -> web.Response:
    """The form."""
    return web.Response(text=PAGE, content_type="text/html")


async def start(request: web.Request) -> web.Response:
    """Start a task: the only request that pays, so no GET, which browsers repeat."""
    try:
        prompt = (await request.json())["prompt"]
        handle = await request.app[WIRO].run(MODEL, {"prompt": prompt})
    except (ValueError, TypeError, KeyError):
        return web.json_response({"error": 'send {"prompt": "..."}'}, status=400)
    except InvalidRequest as error:
        return web.json_response({"error": error.message}, status=400)
    except WiroError as error:
        return web.json_response({"error": error.message}, status=502)
    handles = request.app[HANDLES]
    for task_id in [task_id for task_id, known in handles.items() if known.is_done]:
        del handles[task_id]
    handles[str(handle.task_id)] = handle
    return web.json_response({"task": handle.task_id}, status=201)


async def follow(request: web.Request) -> web.StreamResponse:
    """Tell how a task goes on, until it ends.

    A browser may come back after a lost connection, also to an app that was started anew: the
    task's id is enough for a handle.
    """
    task_id = request.match_info["task"]
    handle = request.app[HANDLES].get(task_id) or request.app[WIRO].task(task_id=task_id)
    response = web.StreamResponse(
        headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"}
    )
    await response.prepare(request)
    try:
        async with aclosing(handle.stream()) as events:
            async for event in events:
                await response.write(encode("status", describe(event)))
        await response.write(encode("end", await result_of(handle)))
    except WiroError as error:
        await response.write(encode("end", {"error": error.message, "pictures": []}))
    except ConnectionError:  # the browser has left; the task goes on
        pass
    return response


def describe(event: TaskEvent) -> dict[str, Any]:
    """What the page shows of a task that runs."""
    progress = event.progress
    return {
        "status": event.status,
        "percentage": None if progress is None else progress.percentage,
        "seconds": round(event.elapsed_seconds, 1),
    }


async def result_of(handle: TaskHandle) -> dict[str, Any]:
    """How a task ended, which awaiting it tells."""
    task = await handle
    return {"error": None, "pictures": [output.url for output in task.outputs]}


def encode(kind: str, data: dict[str, Any]) -> bytes:
    """A server-sent event."""
    return f"event: {kind}\ndata: {json.dumps(data)}\n\n".encode()


async def hold_session(app: web.Application) -> AsyncIterator[None]:
    """One session for the life of the app."""
    async with WiroSession() as wiro:
        app[WIRO] = wiro
        yield


async def end_streams(app: web.Application) -> None:
    """Before the app waits for its open requests: a closed session ends those that follow."""
    await app[WIRO].aclose()


def make_app() -> web.Application:
    """The app; its session is set by the environment."""
    app = web.Application()
    app[HANDLES] = {}
    app.cleanup_ctx.append(hold_session)
    app.on_shutdown.append(end_streams)
    app.router.add_get("/", show_page)
    app.router.add_post("/tasks", start)
    app.router.add_get("/tasks/{task}/events", follow)
    return app


if __name__ == "__main__":
    web.run_app(make_app(), host="127.0.0.1", port=8000)
