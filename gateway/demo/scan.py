"""The scanned referral of the sample archive: typed pages as a departmental scanner of 2016 left them.

Needs Pillow, and reportlab for its Courier. Pages are typed on white, then made to look scanned: skewed a little,
dusty, punched, stamped, and cut to black and white. Compression is CCITT Group 4 (TIFF 6.0 section 11, ITU-T T.6).
Dust and skew come from fixed seeds, so that every run gives the same pixels.
"""

from __future__ import annotations

import math
import random
from io import BytesIO
from pathlib import Path

import reportlab
from PIL import Image, ImageDraw, ImageFont

from gateway.demo.people import HOSPITAL, NOTICE, QUILLFEATHER, day

_DOTS_PER_INCH = 200
_SIZE = (1654, 2339)  # A4
_THRESHOLD = 150  # darker than this is ink
_LEFT, _TOP, _LINE = 190, 210, 40


def scanned_referral() -> bytes:
    """A referral letter of three pages as one TIFF of bilevel Group 4 frames."""
    patient = QUILLFEATHER
    surgery = patient.surgery
    name = f"{patient.formal_name}   d.o.b. {day(patient.born)}   NHS {patient.spaced_number}"
    letter = _LETTER.format(surgery=surgery, patient=patient, address="\n".join(surgery.address), name=name)
    history = _HISTORY.format(name=name)
    pages = [_typed(letter), _typed(history), _rhythm_strip(_typed(_STRIP.format(name=name, notice=NOTICE)))]
    _signature(pages[0], (_LEFT, 1930), seed=7)
    _stamp(pages[0], (1020, 250))
    _handwriting(pages[0], (1000, 590), "Arrhythmia clinic pls.\n6 weeks.  TC")
    _handwriting(pages[1], (1050, 1390), "warfarin v. DOAC?")
    frames = [_scanned(page, number, count=len(pages)) for number, page in enumerate(pages, 1)]
    out = BytesIO()
    frames[0].save(
        out,
        "TIFF",
        save_all=True,
        append_images=frames[1:],
        compression="group4",
        dpi=(_DOTS_PER_INCH, _DOTS_PER_INCH),
    )
    return out.getvalue()


_LETTER = """\
{surgery.name}
{address}
Tel. 01632 960240


                              9th January 2016


Dept of Cardiology
Ellerdale Royal Infirmary


Dear Colleague,

re: {name}
    {patient.address[0]}, {patient.address[1]}, {patient.address[2]}

Thank you for seeing this 54 year old orchardman who has had
palpitations on and off since the summer. They come on at
rest, mostly in the evening, and feel "like a bag of frogs".
Each lasts ten to thirty minutes. He is a little light
headed with them but has never blacked out. No chest pain.

He was found to have high blood pressure in 2014 and takes
ramipril 5 mg. He does not smoke, drinks about 12 units a
week (home-made perry) and is fond of strong coffee.

Today: pulse 76 regular, BP 138/84, heart sounds normal,
chest clear, no oedema. BMI 27. Thyroid function, full blood
count and electrolytes are normal (overleaf).

Our nurse caught one attack on the surgery's machine: I
think this is atrial fibrillation and enclose the strip.

I should be grateful for your opinion on confirming the
rhythm, an echocardiogram, and anticoagulation.

With kind regards,




{surgery.doctor}
General Practitioner"""

_HISTORY = """\
{name}
------------------------------------------------------------

PROBLEMS
  2014   Essential hypertension
  2009   Fracture of left clavicle (fell off ladder)
  1998   Appendicectomy

CURRENT MEDICINES
  Ramipril capsules 5 mg          one daily           28

ALLERGIES
  None known

FAMILY HISTORY
  Father - stroke aged 71.  Mother - alive and well, 84.

RESULTS                         14/12/2015
  Haemoglobin                   147     g/L     (130-170)
  White cell count              6.2     10*9/L  (4.0-11.0)
  Platelets                     221     10*9/L  (150-410)
  Sodium                        140     mmol/L  (133-146)
  Potassium                     4.4     mmol/L  (3.5-5.3)
  Creatinine                    82      umol/L  (59-104)
  TSH                           1.9     mU/L    (0.27-4.20)
  HbA1c                         36      mmol/mol (20-41)

STROKE RISK
  CHA2DS2-VASc   1  (hypertension)
  HAS-BLED       0

BLOOD PRESSURE
  09/01/2016   138/84
  14/12/2015   142/86
  03/06/2015   136/82
  11/11/2014   158/96


                                          page 2 of 3"""

_STRIP = """\
{name}
------------------------------------------------------------

RHYTHM STRIP   lead II   25 mm/s   10 mm/mV

recorded in the surgery 05/01/2016 17:42 by Nurse Gosling


















Irregular, no P waves seen, rate about 110.
Symptoms during recording: yes.


                                          page 3 of 3



{notice}"""


def _font(name: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(Path(reportlab.__file__).with_name("fonts") / name), size)


def _typed(text: str) -> Image.Image:
    """White paper with `text` in a typewriter's letters, each a hair off its line."""
    page = Image.new("L", _SIZE, 255)
    draw = ImageDraw.Draw(page)
    jitter = random.Random(text)  # noqa: S311 - the shake of a typewriter, not a secret
    font = _font("com_____.pfb", 34)
    for row, line in enumerate(text.split("\n")):
        narrow = len(line) > 64
        step = 20.4 if not narrow else 1290 / len(line)
        face = font if not narrow else _font("com_____.pfb", max(18, int(step / 0.6)))
        for column, character in enumerate(line):
            place = (_LEFT + column * step, _TOP + row * _LINE + jitter.choice((0, 0, 0, 1)))
            draw.text(place, character, font=face, fill=jitter.randrange(20, 90))
    return page


def _signature(page: Image.Image, corner: tuple[int, int], *, seed: int) -> None:
    """A flourish of the pen: a sum of a few waves that runs to the right."""
    pen = random.Random(seed)  # noqa: S311 - a doctor's handwriting
    waves = [(pen.uniform(0.5, 4.2), pen.uniform(0, 6.3), pen.uniform(6, 26)) for _ in range(5)]
    points = []
    for step in range(260):
        angle = step / 22
        rise = sum(height * math.sin(speed * angle + phase) for speed, phase, height in waves)
        back = 22 * math.sin(2.1 * angle)
        points.append((corner[0] + step * 1.6 + back, corner[1] + rise * (1 - step / 330)))
    ImageDraw.Draw(page).line(points, fill=40, width=4, joint="curve")


def _stamp(page: Image.Image, corner: tuple[int, int]) -> None:
    """The post room's date stamp, askew."""
    stamp = Image.new("L", (430, 190), 255)
    draw = ImageDraw.Draw(stamp)
    draw.rectangle((4, 4, 425, 185), outline=60, width=6)
    font = _font("VeraBd.ttf", 30)
    for row, text in enumerate(("RECEIVED", "13 JAN 2016", HOSPITAL.upper())):
        face = font if row < 2 else _font("VeraBd.ttf", 21)
        draw.text((215, 42 + row * 52), text, font=face, fill=70, anchor="mm")
    turned = stamp.rotate(5, Image.Resampling.BICUBIC, expand=True, fillcolor=255)
    page.paste(turned, corner)


def _handwriting(page: Image.Image, corner: tuple[int, int], text: str) -> None:
    """A note in the margin, sloping upwards."""
    note = Image.new("L", (560, 220), 255)
    ImageDraw.Draw(note).multiline_text((10, 40), text, font=_font("callig15.pfb", 66), fill=30, spacing=16)
    turned = note.rotate(4, Image.Resampling.BICUBIC, fillcolor=255)
    page.paste(turned, corner, turned.point(lambda value: 255 if value < 200 else 0))


def _rhythm_strip(page: Image.Image) -> Image.Image:
    """A strip of paper with an irregular rhythm, glued on the page."""
    draw = ImageDraw.Draw(page)
    left, top, width, height = _LEFT, 500, 1270, 560
    draw.rectangle((left, top, left + width, top + height), outline=80, width=3)
    for x in range(left, left + width, 40):
        for y in range(top, top + height, 40):
            draw.point((x, y), fill=0)
    beats = random.Random(16)  # noqa: S311 - an irregular pulse
    peaks, at = [], left + 60.0
    while at < left + width - 40:
        peaks.append(at)
        at += beats.uniform(65, 155)
    points = []
    for x in range(left + 4, left + width - 4):
        rise = 9 * math.sin(x / 6.1) + 6 * math.sin(x / 3.7 + 1)
        for peak in peaks:
            rise += 190 * math.exp(-(((x - peak) / 5) ** 2)) - 50 * math.exp(-(((x - peak - 11) / 5) ** 2))
            rise += 34 * math.exp(-(((x - peak - 52) / 15) ** 2))
        points.append((x, top + 330 - rise))
    draw.line(points, fill=20, width=3, joint="curve")
    return page


def _scanned(page: Image.Image, number: int, *, count: int) -> Image.Image:
    """`page` as the scanner saw it, in black and white."""
    dust = random.Random(number)  # noqa: S311 - dust on the glass
    draw = ImageDraw.Draw(page)
    for y in (870, 1500):
        draw.ellipse((48, y, 98, y + 50), fill=15)
    turned = page.rotate(dust.uniform(-0.7, 0.7), Image.Resampling.BICUBIC, fillcolor=255)
    draw = ImageDraw.Draw(turned)
    for _ in range(260):
        x, y, radius = dust.randrange(_SIZE[0]), dust.randrange(_SIZE[1]), dust.choice((0, 0, 0, 1, 1, 2))
        draw.ellipse((x, y, x + radius, y + radius), fill=0)
    for y in range(0, _SIZE[1], 3):
        draw.line((0, y, dust.randrange(1, 7), y), fill=0)
    header = f"13-JAN-2016 09:14  MEDICAL RECORDS SCAN 2  BATCH 0113/07  {number:03}/{count:03}"
    draw.text((260, 18), header, font=_font("cob_____.pfb", 24), fill=0)
    return turned.point(lambda value: 255 if value > _THRESHOLD else 0).convert("1", dither=Image.Dither.NONE)
