"""The answers that the model page prints, as data: the cases of several tests here."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from wiro_async.protocol.responses import Answer

UUID = "15bce51f-442f-4f44-a71d-13c6374a62bd"
URL = (
    "https://cdn1.wiro.ai/6a6af820-c5050aee-40bd7b83-a2e186c6-7f61f7da-3894e49c-fc0eeb66-9b500fe2"
    "/0.png"
)
INPUT_URL = "https://api.wiro.ai/v1/File/mCmUXgZLG1FNjjjwmbtPFr2LVJA112/inputImage-6060136.png"

RUN: dict[str, Any] = {
    "errors": [],
    "taskid": "2221",
    "socketaccesstoken": "eDcCm5yyUfIvMFspTwww49OUfgXkQt",
    "result": True,
}

_OUTPUT: dict[str, Any] = {
    "id": "6bc392c93856dfce3a7d1b4261e15af3",
    "name": "0.png",
    "contenttype": "image/png",
    "parentid": "6c1833f39da71e6175bf292b18779baf",
    "uuid": UUID,
    "size": "202472",
    "addedtime": "1734513812",
    "modifiedtime": "1734513812",
    "accesskey": "dFKlMApaSgMeHKsJyaDeKrefcHahUK",
    "url": URL,
}

_TIMES: dict[str, Any] = {
    "starttime": "1734513809",
    "endtime": "1734513813",
    "elapsedseconds": "6.0000",
    "createtime": "1734513807",
    "canceltime": "0",
    "assigntime": "1734513807",
    "accepttime": "1734513807",
    "preprocessstarttime": "1734513807",
    "preprocessendtime": "1734513807",
    "postprocessstarttime": "1734513813",
    "postprocessendtime": "1734513814",
}

DETAIL: dict[str, Any] = {
    "total": "1",
    "errors": [],
    "tasklist": [
        {
            "id": "2221",
            "uuid": UUID,
            "socketaccesstoken": "eDcCm5yyUfIvMFspTwww49OUfgXkQt",
            "parameters": {},
            "debugoutput": "",
            "debugerror": "",
            "status": "task_postprocess_end",
            **_TIMES,
            "outputs": [_OUTPUT],
            "size": "202472",
        }
    ],
    "result": True,
}


def _stopped(task_id: str) -> dict[str, Any]:
    return {
        "errors": [],
        "tasklist": [
            {
                "id": task_id,
                "uuid": UUID,
                "name": "",
                "socketaccesstoken": "ZpYote30on42O4jjHXNiKmrWAZqbRE",
                "parameters": {"inputImage": INPUT_URL},
                "debugoutput": "",
                "debugerror": "",
                "status": "task_cancel",
                "cps": "0.000585000000",
                "totalcost": "0.003510000000",
                "guestid": None,
                "projectid": "699",
                "modelid": "598",
                "description": "",
                "basemodelid": "0",
                "runtype": "model",
                "modelfolderid": "",
                "modelfileid": "",
                "callbackurl": "",
                "marketplaceid": None,
                **_TIMES,
                "pexit": "0",
                "categories": '["tool","image-to-image","quick-showcase","compare-landscape"]',
                "outputs": [
                    {
                        **_OUTPUT,
                        "foldercount": "0",
                        "filecount": "0",
                        "ispublic": 0,
                        "expiretime": None,
                    }
                ],
                "size": "202472",
            }
        ],
        "result": True,
    }


KILL = _stopped("534574")
CANCEL = _stopped("634574")

# What JSON can hold, with what only Python's reader lets through (1e999, NaN).
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def answer(body: object, http_status: int = 200) -> Answer:
    """An answer with this body: bytes as they are, anything else as JSON."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(http_status=http_status, body=raw)
