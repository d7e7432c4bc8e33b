"""The pictures of the sample archive: a clinical photograph (JPEG) and an electrocardiogram (PNG).

Needs Pillow, and reportlab for its fonts. Both are drawn from formulas and fixed seeds; neither shows a person.
"""

from __future__ import annotations

import math
import random
from io import BytesIO
from pathlib import Path

import reportlab
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

from gateway.demo.people import HOSPITAL, MARROWGATE, NOTICE, PUDDLECROFT, day


def _font(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    fonts = Path(reportlab.__file__).with_name("fonts")
    return ImageFont.truetype(str(fonts / ("VeraBd.ttf" if bold else "Vera.ttf")), size)


def wound_photograph() -> bytes:
    """A healing graze of the shin beside a paper rule, as a camera's JPEG with Exif date and no place."""
    size = (1200, 900)
    photograph = _limb(size)
    _wound(photograph)
    photograph = ImageChops.add(photograph, _grain(size), scale=1.0, offset=-128)
    _rule(photograph)
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "Invented Camera Works", "Model 1"
    exif[0x0132] = "2019:06:12 10:24:31"
    exif[0x010E] = NOTICE
    out = BytesIO()
    photograph.save(out, "JPEG", quality=72, exif=exif, dpi=(150, 150))
    return out.getvalue()


def _limb(size: tuple[int, int]) -> Image.Image:
    """A shin across a blue drape: shaded like a cylinder."""
    width, height = size
    spare = 50  # rows above and below, for the corners that sample beyond the picture
    column = Image.new("RGB", (1, height + 2 * spare))
    for y in range(column.height):
        across = (y - spare - 440) / 300
        if abs(across) < 1:
            light = 0.55 + 0.45 * math.sqrt(1 - across * across) - 0.12 * across
            colour = tuple(int(channel * light) for channel in (222, 172, 146))
        else:
            light = 1 - 0.35 * math.exp(-(abs(across) - 1) * 9)
            colour = tuple(int(channel * light) for channel in (70, 112, 148))
        column.putpixel((0, y), colour)
    # The leg narrows towards the ankle: each corner of the picture samples a little above or below itself.
    return column.resize((width, column.height)).transform(
        size,
        Image.Transform.QUAD,
        (0, spare + 40, 0, spare + height - 30, width, height + 2 * spare, width, 10),
        Image.Resampling.BICUBIC,
    )


def _wound(photograph: Image.Image) -> None:
    """Rings of colour with ragged edges, soft towards the skin."""
    shape = random.Random(41)  # noqa: S311 - a ragged edge
    waves = [(speed, shape.uniform(0, 6.3), shape.uniform(0.02, 0.09)) for speed in (2, 3, 5, 8, 13)]
    rings = (
        (1.45, (205, 128, 112), 26),
        (1.0, (168, 62, 58), 7),
        (0.82, (128, 32, 36), 4),
        (0.55, (92, 24, 26), 5),
        (0.3, (176, 136, 84), 8),
    )
    for scale, colour, blur in rings:
        points = []
        for degree in range(0, 360, 3):
            angle = math.radians(degree)
            radius = scale * (1 + sum(height * math.sin(speed * angle + phase) for speed, phase, height in waves))
            points.append((610 + 150 * radius * math.cos(angle), 430 + 92 * radius * math.sin(angle)))
        mask = Image.new("L", photograph.size)
        ImageDraw.Draw(mask).polygon(points, fill=235)
        photograph.paste(colour, mask=mask.filter(ImageFilter.GaussianBlur(blur)))


def _grain(size: tuple[int, int]) -> Image.Image:
    """Mottled skin and a little sensor noise around the middle grey of 128."""
    noise = random.Random(12)  # noqa: S311 - a camera's noise
    coarse = Image.frombytes("L", (size[0] // 12, size[1] // 12), noise.randbytes(size[0] * size[1] // 144))
    fine = Image.frombytes("L", (size[0] // 2, size[1] // 2), noise.randbytes(size[0] * size[1] // 4))
    mottle = coarse.resize(size, Image.Resampling.BICUBIC).point(lambda value: 128 + (value - 128) // 12)
    speck = fine.resize(size, Image.Resampling.BILINEAR).point(lambda value: 128 + (value - 128) // 20)
    both = ImageChops.add(mottle, speck, scale=1.0, offset=-128)
    return Image.merge("RGB", (both, both, both))


def _rule(photograph: Image.Image) -> None:
    """The paper rule with the patient's label, laid below the wound; a millimetre is eight pixels."""
    patient = MARROWGATE
    rule = Image.new("RGB", (900, 150), (244, 243, 236))
    draw = ImageDraw.Draw(rule)
    for millimetre in range(101):
        x = 50 + millimetre * 8
        draw.line(
            (x, 0, x, 32 if millimetre % 10 == 0 else 22 if millimetre % 5 == 0 else 14), fill=(20, 20, 20), width=2
        )
        if millimetre % 10 == 0:
            draw.text((x, 36), str(millimetre // 10), font=_font(20), fill=(20, 20, 20), anchor="mt")
    draw.text((50, 66), f"{patient.formal_name}   {day(patient.born)}", font=_font(24, bold=True), fill=(15, 25, 70))
    label = f"NHS {patient.spaced_number}   12/06/2019   L SHIN   SAMPLE"
    draw.text((50, 104), label, font=_font(24), fill=(15, 25, 70))
    mask = Image.new("L", rule.size, 255)
    turned, shape = (image.rotate(-2.5, Image.Resampling.BICUBIC, expand=True) for image in (rule, mask))
    shadow = Image.new("L", photograph.size)
    shadow.paste(shape, (146, 636))
    photograph.paste((40, 30, 30), mask=shadow.filter(ImageFilter.GaussianBlur(6)).point(lambda value: value // 2))
    photograph.paste(turned, (140, 628), shape)


_PALETTE = {"paper": (255, 250, 248), "fine": (250, 222, 218), "bold": (238, 178, 172), "trace": (20, 20, 40)}
_MILLIMETRE = 5  # pixels; 25 of them are a second and 10 a millivolt
_LEADS = (
    ("I", 0.6, 0.1), ("aVR", -0.75, -0.1), ("V1", 0.15, -0.75), ("V4", 1.35, -0.3),
    ("II", 1.0, 0.1), ("aVL", 0.2, 0.05), ("V2", 0.35, -1.05), ("V5", 1.25, -0.15),
    ("III", 0.45, -0.1), ("aVF", 0.7, 0.1), ("V3", 0.8, -0.7), ("V6", 1.0, -0.05),
)  # fmt: skip
"""Name, height of R and depth of S in millivolts; in the order of print, row by row."""


def electrocardiogram() -> bytes:
    """Twelve leads and a rhythm strip in sinus rhythm on millimetre paper: a PNG with a palette of four colours."""
    patient = PUDDLECROFT
    colours = {name: index for index, name in enumerate(_PALETTE)}
    sheet = Image.new("P", (1420, 960), colours["paper"])
    sheet.putpalette([channel for colour in _PALETTE.values() for channel in colour])
    draw = ImageDraw.Draw(sheet)
    draw.fontmode = "1"
    for millimetre in range(sheet.width // _MILLIMETRE + 1):
        at, colour = millimetre * _MILLIMETRE, colours["fine" if millimetre % 5 else "bold"]
        draw.line((at, 130, at, 925), fill=colour)
        if 130 <= at <= 925:
            draw.line((0, at, sheet.width, at), fill=colour)
    ink = colours["trace"]
    draw.text((20, 16), f"{patient.formal_name}   {day(patient.born)}   F", font=_font(22, bold=True), fill=ink)
    draw.text((20, 48), f"NHS {patient.spaced_number}   {patient.hospital_number}", font=_font(18), fill=ink)
    draw.text((20, 76), f"12-Jun-2018 09:31   {HOSPITAL}", font=_font(18), fill=ink)
    measures = "Rate 74/min   PR 156 ms   QRS 88 ms   QT/QTc 384/414 ms\nSinus rhythm. Normal ECG.\nUnconfirmed report"
    draw.multiline_text((760, 16), measures, font=_font(18), fill=ink, spacing=10)
    draw.text((20, 934), f"25 mm/s   10 mm/mV   0.05-150 Hz      {NOTICE}", font=_font(16), fill=ink)
    for index, (name, high, deep) in enumerate(_LEADS):
        row, column = divmod(index, 4)
        left, middle = 10 + column * 350, 250 + row * 185
        draw.line(_trace(left, middle, 348, high, deep, start=column * 2.8), fill=ink, width=2)
        draw.text((left + 4, middle - 78), name, font=_font(18, bold=True), fill=ink)
    draw.line(_trace(10, 825, 1400, 1.0, 0.1, start=0), fill=ink, width=2)
    draw.text((14, 765), "II", font=_font(18, bold=True), fill=ink)
    out = BytesIO()
    sheet.save(out, "PNG", optimize=True, dpi=(127, 127))
    return out.getvalue()


def _trace(left: int, middle: int, width: int, high: float, deep: float, *, start: float) -> list[tuple[float, float]]:
    """One lead as points: each beat a sum of five bells for P, Q, R, S and T; `start` in seconds."""
    interval = 60 / 74
    sign = math.copysign(1, high)
    bells = (
        (0.10, 0.022, 0.12 * sign), (0.225, 0.009, -0.08 * sign), (0.25, 0.011, high),
        (0.28, 0.012, deep), (0.50, 0.045, 0.26 * sign),
    )  # fmt: skip
    points: list[tuple[float, float]] = []
    for x in range(width):
        phase = (start + x / (25 * _MILLIMETRE)) % interval
        volts = sum(height * math.exp(-(((phase - at) / spread) ** 2)) for at, spread, height in bells)
        points.append((left + x, middle - volts * 10 * _MILLIMETRE))
    return points
