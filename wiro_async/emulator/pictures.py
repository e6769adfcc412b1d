"""The pictures: a poster drawn of every prompt, with the prompt itself written on it.

Whoever looks at a folder of results must be able to tell at a glance whether picture and
prompt belong together, so the prompt stands in the picture, whole. Around it is a landscape
or a composition whose kind, colours and shapes are derived from a hash of prompt, seed and
model: another prompt is another picture, the same one is the same picture, byte by byte (as
long as Pillow is the same; nothing of the task's id or the time is in it).

This file runs in a process of its own, started by path, and so imports nothing but Pillow
and the standard library: what it is spared it does not have to load. Its protocol is one
line of JSON in, one line out, and it ends when its input does.
"""

import colorsys
import hashlib
import io
import json
import math
import signal
import sys
import unicodedata
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image, ImageDraw, ImageFont

SMOOTHING = 2  # everything but text is drawn at twice the size and averaged down
SMALLEST_TYPE = 11
OPAQUE = 255
PANEL_SHARE = 0.48  # the panel with the prompt never covers more of the height than this

Colour = tuple[int, int, int]
Point = tuple[float, float]

# Five colours each: sky above, sky at the horizon, far, near, and one that stands out.
_PALETTES = (
    ("#1b2a49", "#f7b267", "#7d5a7a", "#2d1e2f", "#ffe8c2"),
    ("#5ec2e6", "#f2f7e8", "#7fb685", "#2f5d50", "#ffd166"),
    ("#0b132b", "#3a506b", "#26425a", "#101d33", "#f4f1bb"),
    ("#f76c5e", "#ffd6a5", "#b5446e", "#4a1942", "#fff3d6"),
    ("#264653", "#e9c46a", "#2a9d8f", "#16302f", "#e76f51"),
    ("#cdb4db", "#ffe5ec", "#a2d2ff", "#5b6c9e", "#ff8fab"),
    ("#003049", "#eae2b7", "#d62828", "#5a1a1a", "#fcbf49"),
    ("#90e0ef", "#fefae0", "#588157", "#283d2b", "#f28482"),
    ("#3d348b", "#f7b801", "#7678ed", "#1f1b4d", "#f35b04"),
    ("#e8d8c3", "#fbf3e4", "#c98f6b", "#5f3b2b", "#d1495b"),
    ("#10002b", "#c77dff", "#5a189a", "#1b0638", "#ffd6ff"),
    ("#8ecae6", "#ffffff", "#219ebc", "#023047", "#ffb703"),
)


class Job(NamedTuple):
    """What to draw; the pixels are those of the long side."""

    prompt: str
    model: str
    seed: str
    aspect: str
    file_format: str
    pixels: int

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        across, down = (int(side) for side in self.aspect.split(":"))
        longer = max(across, down)
        return max(1, self.pixels * across // longer), max(1, self.pixels * down // longer)


class Dice:
    """Numbers that follow from a text, always the same ones."""

    def __init__(self, text: str) -> None:
        self.digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        self._stream = iter(hashlib.shake_256(self.digest.encode()).digest(8192))

    def between(self, low: float, high: float) -> float:
        """Give a number from low to high."""
        return low + (high - low) * (next(self._stream) * 256 + next(self._stream)) / 65535

    def below(self, count: int) -> int:
        """Give a whole number from 0 to count - 1."""
        return min(count - 1, int(self.between(0, count)))


class Canvas:
    """A drawing surface in units of its own width and height: 0 to 1 both ways."""

    def __init__(self, size: tuple[int, int], dice: Dice) -> None:
        self.width, self.height = size[0] * SMOOTHING, size[1] * SMOOTHING
        self.unit = min(self.width, self.height)
        turn = dice.between(-0.03, 0.03)
        palette = _PALETTES[dice.below(len(_PALETTES))]
        self.top, self.horizon, self.far, self.near, self.accent = (
            _turned(colour, turn) for colour in palette
        )
        self.image = _gradient(self.top, self.horizon, (self.width, self.height))
        # Two ways to draw on one image: blending is slower, and most shapes need none.
        self._solid = ImageDraw.Draw(self.image)
        self._blended = ImageDraw.Draw(self.image, "RGBA")

    def shape(self, points: Iterable[Point], colour: Colour, alpha: int = OPAQUE) -> None:
        """Fill a polygon."""
        scaled = [(x * self.width, y * self.height) for x, y in points]
        if alpha == OPAQUE:
            self._solid.polygon(scaled, fill=colour)
        else:
            self._blended.polygon(scaled, fill=(*colour, alpha))

    def disc(self, centre: Point, radius: float, colour: Colour, alpha: int = OPAQUE) -> None:
        """Fill a circle; the radius is in shares of the shorter side."""
        x, y, r = centre[0] * self.width, centre[1] * self.height, radius * self.unit
        corners = (x - r, y - r, x + r, y + r)
        if alpha == OPAQUE:
            self._solid.ellipse(corners, fill=colour)
        else:
            self._blended.ellipse(corners, fill=(*colour, alpha))

    def box(self, corners: tuple[float, float, float, float], colour: Colour, alpha: int) -> None:
        """Fill an upright rectangle."""
        left, top, right, bottom = corners
        self.shape(((left, top), (right, top), (right, bottom), (left, bottom)), colour, alpha)

    def glow(self, centre: Point, radius: float) -> None:
        """Draw a sun or moon with its halo."""
        for ring, alpha in ((2.6, 16), (1.9, 26), (1.4, 44)):
            self.disc(centre, radius * ring, self.accent, alpha)
        self.disc(centre, radius, self.accent)


def _ridge(dice: Dice, base: float, swing: float, waves: float) -> list[Point]:
    """Give the outline of a range of hills, closed along the bottom."""
    bends = [
        (swing / n, waves * n * dice.between(0.8, 1.2), dice.between(0, math.tau))
        for n in (1, 2, 3)
    ]
    steps = 48
    line = [
        (i / steps, base + sum(a * math.sin(f * i / steps * math.tau + p) for a, f, p in bends))
        for i in range(steps + 1)
    ]
    return [*line, (1.0, 1.0), (0.0, 1.0)]


def _hills(canvas: Canvas, dice: Dice) -> None:
    canvas.glow((dice.between(0.15, 0.85), dice.between(0.14, 0.34)), dice.between(0.07, 0.12))
    layers = 4
    for layer in range(layers):
        tone = _blend(canvas.far, canvas.near, layer / (layers - 1))
        base = 0.36 + 0.13 * layer
        canvas.shape(_ridge(dice, base, dice.between(0.02, 0.06), dice.between(0.5, 1.3)), tone)


def _peaks(canvas: Canvas, dice: Dice) -> None:
    for _ in range(40):
        star = (dice.between(0, 1), dice.between(0, 0.4))
        canvas.disc(star, dice.between(0.001, 0.004), canvas.accent, 170)
    canvas.glow((dice.between(0.2, 0.8), dice.between(0.12, 0.25)), dice.between(0.04, 0.08))
    for layer in range(3):
        tone = _blend(canvas.far, canvas.near, layer / 2)
        for _ in range(4):
            x, half = dice.between(-0.05, 1.05), dice.between(0.14, 0.3)
            top, foot = 0.24 + 0.12 * layer + dice.between(0, 0.1), 1.0
            canvas.shape(((x - half * 2, foot), (x, top), (x + half * 2, foot)), tone)
            shade = ((x, top), (x + half * 2, foot), (x + half * 0.4, foot))
            canvas.shape(shade, canvas.near, 70)
            if layer == 0:
                cap = 0.12
                snow = (
                    *((x - half * 2 * cap, top + (foot - top) * cap), (x, top)),
                    *((x + half * 2 * cap, top + (foot - top) * cap), (x, top + 0.05)),
                )
                canvas.shape(snow, canvas.accent, 200)


def _sea(canvas: Canvas, dice: Dice) -> None:
    x, line = dice.between(0.25, 0.75), dice.between(0.4, 0.5)
    canvas.glow((x, line - dice.between(0.0, 0.12)), dice.between(0.09, 0.15))
    canvas.box((0, line, 1, 1), canvas.far, OPAQUE)
    for row in range(7):
        y = line + 0.018 + row * 0.026
        half = (0.11 - row * 0.011) * dice.between(0.6, 1.1)
        canvas.box((x - half, y, x + half, y + 0.007), canvas.accent, 150)
    for layer in range(4):
        tone = _blend(canvas.far, canvas.near, (layer + 1) / 4)
        base = line + 0.1 + layer * 0.11
        canvas.shape(_ridge(dice, base, 0.012, dice.between(1.5, 3.0)), tone, 225)
    mast, keel = dice.between(0.1, 0.9), line + 0.03
    canvas.shape(((mast, keel - 0.14), (mast, keel), (mast + 0.05, keel)), canvas.accent)
    canvas.shape(
        ((mast - 0.006, keel - 0.11), (mast - 0.006, keel), (mast - 0.04, keel)), canvas.top
    )


def _circles(canvas: Canvas, dice: Dice) -> None:
    colours = (canvas.far, canvas.near, canvas.accent, canvas.top)
    for number in range(11):
        centre = (dice.between(0, 1), dice.between(0, 0.75))
        radius = dice.between(0.06, 0.3)
        canvas.disc(centre, radius, colours[number % 4], 150)
        if number % 3 == 0:
            canvas.disc(centre, radius * 0.55, canvas.horizon, 220)
            canvas.disc(centre, radius * 0.3, colours[(number + 1) % 4])


def _rays(canvas: Canvas, dice: Dice) -> None:
    centre = (dice.between(0.3, 0.7), dice.between(0.4, 0.5))
    count, start = 14 + 2 * dice.below(4), dice.between(0, 1)
    for ray in range(count):
        first, last = ((ray * 2 + start + edge) * math.pi / count for edge in (0, 1))
        ends = ((centre[0] + 2 * math.cos(a), centre[1] + 2 * math.sin(a)) for a in (first, last))
        canvas.shape((centre, *ends), canvas.accent, 70)
    canvas.glow(centre, dice.between(0.1, 0.16))
    for layer in range(2):
        tone = (canvas.far, canvas.near)[layer]
        canvas.shape(_ridge(dice, 0.5 + 0.14 * layer, 0.03, dice.between(0.4, 0.9)), tone)


def _ribbons(canvas: Canvas, dice: Dice) -> None:
    colours = (canvas.near, canvas.far, canvas.accent, canvas.horizon)
    lean = dice.between(-0.35, 0.35)
    for number in range(9):
        base, thick = -0.2 + number * 0.13, dice.between(0.02, 0.1)
        swing, phase = dice.between(0.03, 0.09), dice.between(0, math.tau)
        upper = [
            (i / 32, base + lean * i / 32 + swing * math.sin(i / 32 * 5 + phase)) for i in range(33)
        ]
        lower = [(x, y + thick) for x, y in reversed(upper)]
        canvas.shape((*upper, *lower), colours[number % 4], 205)
    canvas.disc((dice.between(0.2, 0.8), dice.between(0.2, 0.5)), 0.11, canvas.accent)


def _city(canvas: Canvas, dice: Dice) -> None:
    canvas.glow((dice.between(0.15, 0.85), dice.between(0.18, 0.34)), dice.between(0.08, 0.13))
    for layer in range(2):
        tone = (canvas.far, canvas.near)[layer]
        left = -0.02
        while left < 1:
            wide, top = dice.between(0.05, 0.11), 0.26 + layer * 0.16 + dice.between(0, 0.26)
            canvas.box((left, top, left + wide, 1), tone, OPAQUE)
            for window in range(dice.below(7) * layer):
                x, y = left + wide * (0.2 + 0.3 * (window % 3)), top + 0.03 + window // 3 * 0.05
                canvas.box((x, y, x + wide * 0.13, y + 0.022), canvas.accent, 230)
            left += wide + 0.006


SCENES: tuple[Callable[[Canvas, Dice], None], ...] = (
    *(_hills, _peaks, _sea, _circles),
    *(_rays, _ribbons, _city),
)


def draw(job: Job) -> bytes:
    """Draw one picture and give the bytes of its file, PNG or JPEG."""
    dice = Dice(f"{job.model}\n{job.prompt}\n{job.seed}")
    canvas = Canvas(job.size, dice)
    SCENES[dice.below(len(SCENES))](canvas, dice)
    image = canvas.image.reduce(SMOOTHING)
    footer = f"{job.model.rpartition('/')[2]}   seed {job.seed}   #{dice.digest[:8]}"
    _letter(image, job.prompt, footer, _blend(canvas.near, (0, 0, 0), 0.55))
    file = io.BytesIO()
    if job.file_format == "jpeg":
        image.save(file, "JPEG", quality=88)
    else:
        # Level 1: a quarter of the time of the default for a file hardly larger.
        image.save(file, "PNG", compress_level=1)
    return file.getvalue()


def _letter(image: Image.Image, prompt: str, footer: str, ground: Colour) -> None:
    """Write the prompt on a panel at the bottom, as large as it fits, whole if it can be."""
    width, height = image.size
    margin = max(2, min(width, height) // 28)
    room = (width - 4 * margin, int(height * PANEL_SHARE) - 3 * margin)
    type_size, lines = _fit(
        drawable(prompt), room, largest=max(SMALLEST_TYPE, sum(image.size) // 36)
    )
    small = max(7, min(SMALLEST_TYPE, type_size - 2))
    leading = _leading(type_size)
    tall = leading * len(lines) + int(small * 1.6) + 2 * margin
    draw_on = ImageDraw.Draw(image, "RGBA")
    panel = (margin, height - margin - tall, width - margin, height - margin)
    draw_on.rounded_rectangle(panel, radius=margin, fill=(*ground, 205))
    x, y = 2 * margin, panel[1] + margin
    font = ImageFont.load_default(type_size)
    for number, line in enumerate(lines):
        draw_on.text((x, y + number * leading), line, font=font, fill=(255, 255, 255))
    below = y + leading * len(lines) + small * 0.6
    draw_on.text((x, below), footer, font=ImageFont.load_default(small), fill=(255, 255, 255, 165))


def _fit(text: str, room: tuple[int, int], largest: int) -> tuple[int, list[str]]:
    """Find the largest type in which the text fits the room; shorten what fits in none."""
    reference = 32
    font = ImageFont.load_default(reference)
    space = font.getlength(" ") / reference
    words = [(word, font.getlength(word) / reference) for word in _words(text)]
    longest = max((length for _, length in words), default=0.0)
    type_size = largest
    while True:
        # The widths are those of one size scaled; hinting makes others a little wider.
        width = room[0] * 0.97 / type_size
        lines = _wrap(words, space, width)
        fitting = max(1, room[1] // _leading(type_size))
        if len(lines) <= fitting and longest <= width:
            return type_size, lines
        if type_size <= SMALLEST_TYPE:
            cut = len(lines) > fitting
            last = lines[:fitting][-1]
            return type_size, [*lines[: fitting - 1], last[:-2] + "…"] if cut else lines
        type_size = max(SMALLEST_TYPE, type_size * 9 // 10)


def _wrap(words: list[tuple[str, float]], space: float, width: float) -> list[str]:
    lines: list[str] = []
    line, used = "", 0.0
    for word, length in words:
        if line and used + space + length > width:
            lines.append(line)
            line, used = "", 0.0
        line, used = (f"{line} {word}", used + space + length) if line else (word, length)
    return [*lines, line]


def _words(text: str) -> list[str]:
    """Split into words; what is too long for one line is cut, since it has no spaces."""
    longest = 18
    return [
        word[start : start + longest]
        for word in text.split()
        for start in range(0, len(word), longest)
    ]


def _leading(type_size: int) -> int:
    return round(type_size * 1.26)


def drawable(text: str) -> str:
    """Give the text in letters that the built-in font has: accents go, the rest is a "?"."""
    plain = unicodedata.normalize("NFKD", text).translate(_TWINS)
    known = (" " if char.isspace() else char for char in plain if not unicodedata.combining(char))
    return "".join(char if char in _GLYPHS or char == " " else "?" for char in known)


_TWINS = str.maketrans(
    {"\u2013": "-", "\u2014": "-", "\u0131": "i", "ß": "ss", "ø": "o", "æ": "ae", "ł": "l"}
)
_GLYPHS = frozenset(map(chr, range(33, 127))) | frozenset("©«°±´·»‘’“”…‹›")  # noqa: RUF001 (glyphs)


def _rgb(colour: str) -> Colour:
    return (int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16))


def _turned(colour: str, turn: float) -> Colour:
    """Give a colour with its hue turned a little."""
    hue, lightness, saturation = colorsys.rgb_to_hls(*(part / 255 for part in _rgb(colour)))
    red, green, blue = colorsys.hls_to_rgb((hue + turn) % 1, lightness, saturation)
    return (round(red * 255), round(green * 255), round(blue * 255))


def _blend(one: Colour, other: Colour, share: float) -> Colour:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return (red, green, blue)


def _gradient(top: Colour, bottom: Colour, size: tuple[int, int]) -> Image.Image:
    strip = Image.new("RGB", (1, 4), bottom)
    strip.putdata([top, _blend(top, bottom, 0.45), _blend(top, bottom, 0.9), bottom])
    # Smoothed downwards and then only repeated across, which is many times faster.
    column = strip.resize((1, size[1]), Image.Resampling.BICUBIC)
    return column.resize(size, Image.Resampling.NEAREST)


def fulfil(line: str) -> dict[str, Any]:
    """Do one job of the protocol: draw, write the file, give its size and SHA-256.

    What goes wrong comes back as `{"error": ...}`: one bad job must not end the others.
    """
    try:
        order = json.loads(line)
        path = Path(order.pop("path"))
        content = draw(Job(**order))
        path.write_bytes(content)
    except Exception as error:  # noqa: BLE001 (whatever it is, the one who ordered has to know)
        return {"error": f"{type(error).__name__}: {error}"}
    return {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def main() -> None:
    """Serve jobs from the standard input until it ends."""
    # Ctrl-C goes to every process of the terminal; this one ends with its input, not before.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for line in sys.stdin:
        sys.stdout.write(json.dumps(fulfil(line)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
