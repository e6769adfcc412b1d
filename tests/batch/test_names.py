"""Within a batch no two requests give files of one name, on whatever file system they end up."""

from __future__ import annotations

import json
import unicodedata
from itertools import combinations
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.batch.emulated import emulated
from tests.batch.source_cases import FLUX, flux
from wiro_async.batch.iterables import as_requests
from wiro_async.batch.requests import BatchRequest
from wiro_async.batch.results import ItemStatus
from wiro_async.batch.sources import check_source
from wiro_async.errors import InvalidRequest, SourceError
from wiro_async.filenames import output_names, safe_stem
from wiro_async.task import JsonObject, Output

TWINS = [
    ("Fox", "fox"),
    ("FOX", "Fox"),
    ("É", "é"),
    ("straße", "STRASSE"),
    ("\uff29\uff2d\uff27", "img"),
    ("m²", "m2"),
    ("ﬁsh", "fish"),
]
NO_TWINS = [
    ("e\u0301", "é"),
    ("a b", "a_b"),
    ("a b", "A b"),
    ("a/b", "a\\b"),
    ("fox.1", "fox"),
    ("fox.1", "FOX.1"),
    ("con", "CON"),
    ("results", "Results"),
    ("0", "O"),
]
IDS = [
    *{one for pair in (*TWINS, *NO_TWINS) for one in pair},
    "a",
    "A",
    "a.1",
    "A.1",
    "ǰ",
    "ǅ",
    "ǆ",
]
Form: TypeAlias = Literal["NFC", "NFD", "NFKC"]
FORMS: tuple[Form, ...] = get_args(Form)
ids = st.lists(
    st.sampled_from(IDS) | st.text(st.characters(codec="utf-8"), min_size=1, max_size=4),
    min_size=1,
    max_size=8,
    unique=True,
).filter(lambda ids: all(one.strip() for one in ids))


def write(directory: Path, custom_ids: list[str]) -> Path:
    path = directory / "p.jsonl"
    rows = [json.dumps({"custom_id": one, "prompt": "a fox"}) for one in custom_ids]
    path.write_text("\n".join(rows))
    return path


async def accepted(custom_ids: list[str]) -> list[str]:
    """The ids of a list of requests that are not refused."""
    requests = [{"custom_id": one, "prompt": "a fox"} for one in custom_ids]
    found = [one async for one in as_requests(requests, model=FLUX)]
    assert [request.custom_id for request, _ in found] == custom_ids
    return [request.custom_id or "" for request, problem in found if problem is None]


def names(custom_id: str, form: Form) -> set[str]:
    """All names that a request's outputs can have, as a file system that folds has them."""
    outputs = (Output(name="0.png"),) * 3
    given_names = [
        *output_names(safe_stem(custom_id), outputs),
        *output_names(safe_stem(custom_id), outputs[:1]),
    ]
    return {
        unicodedata.normalize(form, unicodedata.normalize(form, name).casefold())
        for name in given_names
    }


@pytest.mark.parametrize(("one", "other"), TWINS)
async def test_twins_are_refused_in_either_order(tmp_path: Path, one: str, other: str) -> None:
    for first, second in ((one, other), (other, one)):
        with pytest.raises(SourceError) as caught:
            check_source(write(tmp_path, ["hen", first, "owl", second]), flux())
        assert (caught.value.line, caught.value.field) == (4, "custom_id")
        assert f"the custom_id {second!r} gives files of the same names" in caught.value.message
        assert "that of line 2, where case and form" in caught.value.message
        assert await accepted(["hen", first, "owl", second]) == ["hen", first, "owl"]


@pytest.mark.parametrize(("one", "other"), NO_TWINS)
async def test_what_has_names_of_its_own_is_not_refused(
    tmp_path: Path, one: str, other: str
) -> None:
    assert check_source(write(tmp_path, [one, other]), flux()).requests == 2
    assert await accepted([one, other]) == [one, other]


async def test_an_id_that_comes_twice_is_the_journals_to_tell(tmp_path: Path) -> None:
    assert await accepted(["fox", "fox"]) == ["fox", "fox"]
    with pytest.raises(SourceError, match="'fox' is already that of line 1"):
        check_source(write(tmp_path, ["fox", "fox"]), flux())


async def test_the_refusal_names_the_place_of_the_first() -> None:
    requests: list[str | BatchRequest | JsonObject]
    requests = [
        "a hen",
        BatchRequest(custom_id="Fox", params={"prompt": "x"}),
        {"id": "fOX", "prompt": "y"},
    ]
    problems = [problem async for _, problem in as_requests(requests, model=FLUX)]
    assert problems[:2] == [None, None]
    assert isinstance(problems[2], InvalidRequest)
    assert problems[2].field == "custom_id"
    assert "'fOX' gives files of the same names as that of request 2" in problems[2].message


@given(ids)
async def test_whatever_is_accepted_has_names_of_its_own(custom_ids: list[str]) -> None:
    kept = await accepted(custom_ids)
    assert kept[:1] == custom_ids[:1]
    for form in FORMS:
        for one, other in combinations(kept, 2):
            assert not names(one, form) & names(other, form)


@given(ids)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_a_file_is_refused_if_and_only_if_a_list_would_lose_one(
    tmp_path: Path, custom_ids: list[str]
) -> None:
    path = write(tmp_path, custom_ids)
    if await accepted(custom_ids) == custom_ids:
        assert check_source(path, flux()).requests == len(custom_ids)
    else:
        with pytest.raises(SourceError, match="gives files of the same names"):
            check_source(path, flux())


@pytest.mark.parametrize("is_journaled", [True, False])
async def test_a_twin_is_not_paid_and_nobody_else_is_held_up(
    tmp_path: Path, *, is_journaled: bool
) -> None:
    requests = [{"custom_id": one, "prompt": "a fox"} for one in ("Fox", "fox", "hen")]
    async with emulated(tmp_path / "out") as place:
        for _ in range(2):  # the second time by what the journal has, or by another directory
            directory = place.directory if is_journaled else tmp_path / f"out{_}"
            async with (
                place.session() as session,
                session.batch(
                    requests,
                    model=FLUX,
                    output_dir=directory,
                    journal=place.journal if is_journaled else None,
                ) as batch,
            ):
                statuses = {item.custom_id: item.status async for item in batch}
            assert statuses == {
                "Fox": ItemStatus.SUCCEEDED,
                "fox": ItemStatus.REFUSED,
                "hen": ItemStatus.SUCCEEDED,
            }
            pictures = {path.name for path in directory.iterdir() if path.suffix == ".png"}
            assert pictures == {"Fox.png", "hen.png"}
        assert len(place.emulator.books.tasks) == (2 if is_journaled else 4)
