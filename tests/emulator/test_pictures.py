import io
import json
import runpy
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw, ImageFont

from wiro_async.emulator import pictures
from wiro_async.emulator.pictures import PANEL_SHARE, SCENES, Dice, Job, draw, drawable, fulfil

RATIOS = [
    "1:1",
    "16:9",
    "9:16",
    "4:3",
    "3:4",
    "3:2",
    "2:3",
    "4:5",
    "5:4",
    "21:9",
    "9:21",
    "2:1",
    "1:2",
]


def job(**changes: Any) -> Job:  # noqa: ANN401 (Job's)
    order = {
        "prompt": "a lighthouse",
        "model": "black-forest-labs/flux-pro-1-1-ultra",
        "seed": "42",
        "aspect": "16:9",
        "file_format": "png",
        "pixels": 160,
    }
    return Job(**{**order, **changes})


def opened(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


@pytest.mark.parametrize("aspect", RATIOS)
def test_the_picture_has_the_asked_shape(aspect: str) -> None:
    across, down = map(int, aspect.split(":"))
    image = opened(draw(job(aspect=aspect)))
    assert max(image.size) == 160
    assert image.width / image.height == pytest.approx(across / down, rel=0.03)


@pytest.mark.parametrize(("file_format", "name"), [("png", "PNG"), ("jpeg", "JPEG")])
def test_the_picture_has_the_asked_format(file_format: str, name: str) -> None:
    assert opened(draw(job(file_format=file_format))).format == name


def test_the_same_job_is_the_same_picture_and_every_other_one_is_not() -> None:
    assert draw(job()) == draw(job())
    others = [job(prompt="a fox"), job(seed="43"), job(model="a/b")]
    assert len({draw(other) for other in (job(), *others)}) == 4


def test_every_kind_of_scene_is_drawn_somewhere() -> None:
    scenes: set[int] = set()

    class Counted(Dice):
        def below(self, count: int) -> int:
            number = super().below(count)
            if count == len(SCENES):
                scenes.add(number)
            return number

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pictures, "Dice", Counted)
        for number in range(60):
            draw(job(prompt=f"prompt {number}", pixels=64))
    assert scenes == set(range(len(SCENES)))


def test_the_hungriest_scene_never_runs_out_of_dice() -> None:
    assert all(draw(job(prompt=str(number), pixels=16)) for number in range(300))


@pytest.mark.parametrize("count", [1, 30, 90])
def test_prompts_of_the_page_s_length_are_written_whole(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    original = ImageDraw.ImageDraw.text

    def spy(
        self: ImageDraw.ImageDraw,
        at: tuple[float, float],
        text: str,
        font: ImageFont.FreeTypeFont,
        fill: tuple[int, ...],
    ) -> None:
        written.append(text)
        right = at[0] + font.getlength(text)
        assert right <= self.im.size[0], f"{text!r} runs out of the picture"
        original(self, at, text, font=font, fill=fill)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", spy)
    prompt = " ".join(f"word{n}" for n in range(count))
    for aspect in ("16:9", "9:16", "1:1"):
        written.clear()
        draw(job(prompt=prompt, aspect=aspect, pixels=640))
        *lines, footer = written
        assert " ".join(lines) == prompt
        assert "seed 42" in footer


def test_a_very_long_prompt_is_cut_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    original = pictures._fit

    def spy(text: str, room: tuple[int, int], largest: int) -> tuple[int, list[str]]:
        sizes.append(original(text, room, largest))
        return sizes[-1]

    monkeypatch.setattr(pictures, "_fit", spy)
    draw(job(prompt="word " * 3000, pixels=640))
    draw(job(prompt="w" * 3000, pixels=640, aspect="9:21"))
    for type_size, lines in sizes:
        assert type_size == pictures.SMALLEST_TYPE
        assert lines[-1].endswith("…")
        assert len(lines) * type_size < 640 * PANEL_SHARE


def test_one_long_word_takes_smaller_type_rather_than_running_out() -> None:
    type_size, lines = pictures._fit("w" * 18, (150, 400), largest=40)
    assert type_size < 40
    assert lines == ["w" * 18]
    # In a thumbnail nothing fits; it is drawn all the same.
    assert pictures._fit("w" * 18, (20, 400), largest=11) == (11, ["w" * 18])


@pytest.mark.parametrize(
    ("text", "letters"),
    [
        ("plain", "plain"),
        ("café \u2014 \u0131ğd\u0131r", "cafe - igdir"),
        ("two\nlines\tand \u2019quotes\u2019", "two lines and \u2019quotes\u2019"),
        ("日本 😀 \udcff", "?? ? ?"),
        ("", ""),
    ],
)
def test_what_the_font_has(text: str, letters: str) -> None:
    assert drawable(text) == letters
    draw(job(prompt=text, pixels=64))


def line_for(path: Path, **changes: Any) -> str:  # noqa: ANN401 (Job's)
    return json.dumps({**job(pixels=32)._asdict(), "path": str(path), **changes})


def test_the_protocol(tmp_path: Path) -> None:
    path = tmp_path / "0.png"
    reply = fulfil(line_for(path))
    assert reply["size"] == path.stat().st_size
    assert len(reply["sha256"]) == 64


@pytest.mark.parametrize("line", ["", "{}", '{"path": "x"}'])
def test_a_bad_job_is_told_not_raised(line: str) -> None:
    assert fulfil(line).keys() == {"error"}


def test_the_worker_serves_until_its_input_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    handlers = []
    monkeypatch.setattr(signal, "signal", lambda *args: handlers.append(args))
    monkeypatch.setattr(sys, "stdin", io.StringIO(line_for(tmp_path / "0.png") + "\n{}\n"))
    runpy.run_path(str(Path(pictures.__file__)), run_name="__main__")
    good, bad = map(json.loads, capsys.readouterr().out.splitlines())
    assert good.keys() == {"size", "sha256"}
    assert bad.keys() == {"error"}
    assert handlers == [(signal.SIGINT, signal.SIG_IGN)]
