"""Documents of the sample archive that are text: HTML letter, windows-1252 note, ASCII report, RTF letter.

Pure functions that return the bytes of one file; standard library only. Each keeps the habits of the systems that
really write such files: line ends, character sets, and no byte order mark.
"""

from __future__ import annotations

from gateway.demo.people import (
    BRAMBLEWICK,
    HOSPITAL,
    HOSPITAL_ADDRESS,
    MARROWGATE,
    NOTICE,
    PUDDLECROFT,
    QUILLFEATHER,
    SWITCHBOARD,
    TRUST,
    Patient,
    day,
)

_STYLE = """\
  body { font: 11pt/1.4 Arial, Helvetica, sans-serif; color: #212b32; max-width: 42em; margin: 2em auto; }
  header { border-bottom: 3px solid #005eb8; text-align: right; margin-bottom: 1.5em; }
  header strong { color: #005eb8; font-size: 13pt; }
  table { border-collapse: collapse; margin: 0.5em 0 1em; }
  th, td { border: 1px solid #aeb7bd; padding: 0.25em 0.6em; text-align: left; }
  h2 { font-size: 11pt; color: #005eb8; margin: 1.2em 0 0.3em; }
  footer { font-size: 8pt; color: #4c6272; border-top: 1px solid #aeb7bd; margin-top: 2em; }"""


def clinic_letter() -> bytes:
    """A cardiology clinic letter as a document system exports it: HTML in UTF-8 that says so."""
    patient = QUILLFEATHER
    address = "<br>\n    ".join((patient.surgery.doctor, patient.surgery.name, *patient.surgery.address))
    page = f"""<!DOCTYPE html>
<html lang="en-GB">
<head>
<meta charset="utf-8">
<title>Clinic letter: Cardiology, 17-Feb-2020</title>
<style>
{_STYLE}
</style>
</head>
<body>
<header>
  <p><strong>{TRUST}</strong><br>
    Department of Cardiology<br>
    {HOSPITAL}, {", ".join(HOSPITAL_ADDRESS)}<br>
    Secretary: 01632 960142</p>
</header>
<p>Clinic date: 17-Feb-2020<br>
  Typed: 19-Feb-2020<br>
  Our reference: CARD/TC/{patient.hospital_number}</p>
<p>{address}</p>
<p>Dear Dr Oakapple</p>
<p><strong>{patient.formal_name}</strong>, born {day(patient.born)}<br>
  NHS number {patient.spaced_number}, hospital number {patient.hospital_number}<br>
  {", ".join(patient.address)}</p>
<h2>Diagnoses</h2>
<ul>
  <li>Paroxysmal atrial fibrillation, first recorded January 2016 (CHA₂DS₂-VASc 1)</li>
  <li>Hypertension, treated since 2014</li>
  <li>Echocardiogram January 2020: left ventricular ejection fraction 58%, left atrium 41&nbsp;mm</li>
</ul>
<h2>Medication</h2>
<table>
  <tr><th>Medicine</th><th>Dose</th><th>Change</th></tr>
  <tr><td>Apixaban</td><td>5&nbsp;mg twice a day</td><td>unchanged</td></tr>
  <tr><td>Bisoprolol</td><td>2.5&nbsp;mg once a day</td><td>increased from 1.25&nbsp;mg</td></tr>
  <tr><td>Ramipril</td><td>5&nbsp;mg once a day</td><td>unchanged</td></tr>
</table>
<h2>Actions for the general practice</h2>
<ol>
  <li>Please issue bisoprolol 2.5&nbsp;mg and check pulse and blood pressure in four weeks.</li>
  <li>Please repeat renal function and full blood count every six months while he takes apixaban.</li>
</ol>
<p>I reviewed Mr {patient.family} in the arrhythmia clinic. Since November he has had three further episodes of
  palpitation, the longest about forty minutes, none with chest pain or loss of consciousness. He keeps a diary and
  had cut down from four cups of coffee a day “under protest”. He walks two miles to his allotment without
  breathlessness.</p>
<p>On examination the pulse was 72 per minute and regular, blood pressure 134/82&nbsp;mmHg. Heart sounds were normal
  and the chest was clear. The seven-day recorder showed one episode of atrial fibrillation of eleven minutes at a
  mean rate of 118 per minute; there were no pauses.</p>
<p>We discussed rate control, a “pill in the pocket” and catheter ablation. He would like to try the higher dose of
  bisoprolol first. He knows to call 999 for chest pain or a blackout. I will see him again in six months.</p>
<p>Yours sincerely</p>
<p><em>Checked and approved electronically</em></p>
<p><strong>Dr Theodora Copperwhistle</strong><br>
  Consultant Cardiologist</p>
<p>Copy to: {patient.name}</p>
<footer>{NOTICE}</footer>
</body>
</html>
"""
    return page.encode()


def ward_note() -> bytes:
    """A nursing note from a ward system of the nineties: windows-1252, CRLF, no statement of its character set."""
    patient = MARROWGATE
    note = f"""{TRUST.upper()}
{HOSPITAL.upper()} – WARD 7 (ELDERLY MEDICINE)
NURSING EVALUATION SHEET
{"=" * 78}
Patient : {patient.formal_name:<38} Hosp no : {patient.hospital_number}
Born    : {day(patient.born):<38} NHS no  : {patient.spaced_number}
Address : {", ".join(patient.address)}
Admitted: 03-Nov-2009                            Bed     : 7/14
{"-" * 78}

04-Nov-2009 07:10  Night report
  Slept 22:30–05:45. Temp 36.9 °C, BP 142/78, pulse 80 regular. Oral fluids
  1½ litres since midnight. Catheter draining clear urine, 40–55 ml/h.
  Grade 1 redness left heel, 2 cm × 1½ cm; heel raised, 2-hourly turns.
  – S/N Dorcas Applethwick

04-Nov-2009 14:20  Late morning
  Assessed by physiotherapist: transfers with one, walks 10 m with frame.
  Mr Marrowgate says he is “right as ninepence” and wants to know when he’ll
  be home for his pigeons. Daughter visited; she will bring his own slippers.
  Property: 1 wallet with £35.50, 1 watch (yellow metal) – locked in ward safe,
  receipt no. 20417. Spectacles and hearing aid kept with patient.
  – S/N Bartholomew Finchingly

04-Nov-2009 20:45  Evening
  Ate ¾ of supper. Complained of “a bit of a twinge” in right hip, score 3/10;
  paracetamol 1 g given 19:50 with good effect. Dr Nettlefold reviewed: no
  bony tenderness, continue. Social worker’s visit booked for 06-Nov, 10:30.
  Café trolley money returned (£1.20).
  – Sister Euphemia Holloway-Spratt

{"-" * 78}
{NOTICE}
"""
    return note.replace("\n", "\r\n").encode("cp1252")


def pathology_report() -> bytes:
    """A laboratory print-out as the old system spooled it: ASCII, fixed columns, a form feed at the end."""
    patient = PUDDLECROFT
    rows = (
        ("Haemoglobin", "108", "g/L", "120 - 150", "L"),
        ("White cell count", "7.1", "10*9/L", "4.0 - 11.0", ""),
        ("Platelets", "342", "10*9/L", "150 - 410", ""),
        ("Mean cell volume", "74.2", "fL", "83.0 - 101.0", "L"),
        ("Mean cell haemoglobin", "23.8", "pg", "27.0 - 32.0", "L"),
        ("Ferritin", "6", "ug/L", "13 - 150", "L"),
        ("Serum B12", "388", "ng/L", "197 - 771", ""),
        ("Serum folate", "7.9", "ug/L", "3.9 - 26.8", ""),
        ("C-reactive protein", "<1", "mg/L", "0 - 5", ""),
    )
    results = "\n".join(
        f"{test:<26}{value:>8} {flag:<2} {unit:<10}{reference:<14}" for test, value, unit, reference, flag in rows
    )
    report = f"""{TRUST.upper()}
DEPARTMENT OF BLOOD SCIENCES                     Enquiries: 01632 960177
{"-" * 72}
Patient    {patient.formal_name}
Born       {day(patient.born)}   Sex F       NHS no {patient.spaced_number}
Hospital   {patient.hospital_number}                  Lab no 18.0612.04471
Requester  {patient.surgery.doctor}, {patient.surgery.name}
Collected  12-Jun-2018 09:15       Received 12-Jun-2018 12:40
Reported   12-Jun-2018 17:05       Status   FINAL
Details    Tired, heavy periods.
{"-" * 72}
{"Test":<26}{"Result":>8}    {"Unit":<10}{"Reference":<14}

{results}

Comment: Microcytic, hypochromic picture with low ferritin, in keeping with
iron deficiency. Suggest oral iron and repeat in 4 weeks. If no response
or bowel symptoms, consider further investigation in line with local
guidance.

Validated by: Dr Ambrose Tinderfell, Consultant Haematologist
{"-" * 72}
{NOTICE}
"""
    return report.replace("\n", "\r\n").encode("ascii") + b"\f"


def physiotherapy_letter() -> bytes:
    """A discharge letter from an outpatient department's word processor: Rich Text Format 1.5, windows-1252."""
    patient = BRAMBLEWICK
    body = [
        r"{\qr\b\cf1\fs26 " + _rtf(TRUST) + r"\par}",
        r"{\qr\fs20 " + _rtf(f"Outpatient Physiotherapy, {HOSPITAL}") + r"\line " + _rtf(SWITCHBOARD) + r"\par}",
        r"\pard\brdrb\brdrs\brdrw15\brdrcf1\par\pard",
        _rtf("23-Sep-2022") + r"\par\par",
        r"\line ".join(map(_rtf, (patient.surgery.doctor, patient.surgery.name, *patient.surgery.address)))
        + r"\par\par",
        _rtf("Dear Dr Inglewhistle") + r"\par\par",
        r"{\b " + _rtf(_label(patient)) + r"\par}\par",
        r"{\b Discharge from physiotherapy: right shoulder\par}\par",
    ]
    body += [_rtf(paragraph) + r"\par\par" for paragraph in _PHYSIOTHERAPY]
    body += [
        _measurements(),
        r"\pard\par " + _rtf("Yours sincerely") + r"\par\par\par",
        r"{\b Mr Fitzgerald Larkrise}\line Senior Physiotherapist\par\par",
        _rtf(f"cc {patient.name}, {', '.join(patient.address)}") + r"\par\par",
        r"{\fs16\cf2 " + _rtf(NOTICE) + r"\par}",
    ]
    head = (
        r"{\rtf1\ansi\ansicpg1252\deff0\deflang2057{\fonttbl{\f0\fswiss\fcharset0 Arial;}}"
        "\n"
        r"{\colortbl;\red0\green94\blue184;\red76\green98\blue114;}"
        "\n"
        r"{\info{\title Physiotherapy discharge letter}{\company Ellerdale Royal Infirmary}}"
        "\n"
        r"\paperw11906\paperh16838\margl1304\margr1304\margt1134\margb1134\f0\fs22"
    )
    return "\r\n".join([*head.split("\n"), *body, "}", ""]).encode("ascii")


_PHYSIOTHERAPY = (
    "Thank you for referring Ms Bramblewick, who attended six times between 18-Jul-2022 and 23-Sep-2022 with a "
    "painful right shoulder after moving a wardrobe. Examination fitted subacromial pain – the so-called “painful "
    "arc” – without signs of a full-thickness tear.",
    "She was given a graded programme of rotator cuff and scapular exercises, advice on lifting at work (she is a "
    "bookbinder) and two courses of manual therapy. She has done her exercises faithfully; the resistance bands "
    "cost her £8.50 and, in her words, “were worth every penny”.",
    "On discharge she sleeps through the night, lifts 5 kg to shoulder height and has returned to full duties. She "
    "has been given an open appointment for three months. No further action is needed from the practice.",
)


def _label(patient: Patient) -> str:
    return f"{patient.formal_name}, born {day(patient.born)}, NHS number {patient.spaced_number}"


def _measurements() -> str:
    """A table of three columns; RTF writes the right-hand edges in twips before each row."""
    rows = (
        ("Measure", "First visit", "Discharge"),
        ("Flexion (active)", "110°", "170°"),
        ("Abduction (active)", "85°", "165°"),
        ("Pain at night, 0–10", "7", "1"),
        ("Oxford Shoulder Score, 0–48", "24", "44"),
    )
    edges = r"\trowd\trgaph108\cellx4200\cellx6200\cellx8200\pard\intbl "
    return "\r\n".join(edges + r"\cell ".join(map(_rtf, row)) + r"\cell\row" for row in rows)


def _rtf(text: str) -> str:
    """`text` with RTF's own characters escaped and everything beyond ASCII as windows-1252 `\\'hh`."""
    escaped = text.replace("\\", r"\\").replace("{", r"\{").replace("}", r"\}")
    return "".join(
        character if character.isascii() else f"\\'{character.encode('cp1252').hex()}" for character in escaped
    )
