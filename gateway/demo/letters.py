"""What the PDF letters of the sample archive say: a discharge summary, a radiology report and a withdrawn letter.

Needs reportlab, through `pdf`, which sets them.
"""

from __future__ import annotations

from datetime import date

from reportlab.lib.colors import HexColor
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.platypus import Paragraph, Spacer

from gateway.demo.pdf import HEADING, TEXT, TITLE, Story, bullets, grid, letterhead, pairs, person, typeset
from gateway.demo.people import BRAMBLEWICK, HOSPITAL, MARROWGATE, THISTLEQUILL, Patient, day


def discharge_summary() -> bytes:
    """A discharge summary of several pages, in the order of the PRSB's headings."""
    return typeset("Discharge summary", THISTLEQUILL, _discharge_story)


def radiology_report() -> bytes:
    """A report of one page, as an older radiology system filed it."""
    return typeset("Radiology report", MARROWGATE, _radiology_story)


def withdrawn_letter() -> bytes:
    """A letter that was sent about the wrong clinic and withdrawn; the gateway must answer 410 for it."""
    return typeset("Clinic letter: Dermatology", BRAMBLEWICK, _withdrawn_story)


def _discharge_story(patient: Patient) -> Story:
    return [
        *letterhead("Acute Medical Unit", "01632 960121"),
        Paragraph("Discharge summary", TITLE),
        person(patient),
        *_discharge_stay(),
        *_discharge_results(),
        *_discharge_medicines(),
        *_discharge_plan(patient),
        *_discharge_leaflet(patient),
    ]


def _discharge_stay() -> Story:
    stay = (
        ("Admitted", "04-Mar-2021 16:42, emergency, from home", "Discharged", "09-Mar-2021 13:15, to home"),
        ("Consultant", "Dr Leopold Winterbourne-Sedge, Acute Medicine", "Ward", "Acute Medical Unit, then Ward 12"),
    )
    return [
        pairs(stay),
        Paragraph("Diagnoses", HEADING),
        *bullets(
            "<b>Community-acquired pneumonia, right lower lobe</b> (CURB-65 score 2 on arrival)",
            "Acute kidney injury stage 1 on admission, recovered",
            "Type 2 diabetes mellitus",
            "Osteoarthritis of the right hip, on the waiting list for replacement",
        ),
        Paragraph("Clinical summary", HEADING),
        Paragraph(
            "Mrs Thistlequill came to the Emergency Department with four days of cough, green sputum, fever and "
            "right-sided pain on breathing in. At home she had become unsteady and had been drinking little. On "
            "arrival: temperature 38.9 °C, pulse 108, blood pressure 104/62 mmHg, respiratory rate 26, oxygen "
            "saturation 89% on air. There was bronchial breathing at the right base. She was alert and orientated "
            "(4AT score 0).",
            TEXT,
        ),
        Paragraph(
            "She was treated with intravenous fluids, oxygen by nasal cannulae for 48 hours, and doxycycline because "
            "of her penicillin allergy. Swabs for SARS-CoV-2 were negative on admission and on day 5. Ramipril and "
            "metformin were withheld while renal function recovered; metformin was restarted on 08-Mar-2021. "
            "Physiotherapists saw her daily and she climbs one flight of stairs with her usual stick.",
            TEXT,
        ),
        Paragraph("Procedures", HEADING),
        Paragraph("None.", TEXT),
        Paragraph("Allergies and adverse reactions", HEADING),
        Paragraph("<b>Penicillin:</b> widespread rash, 1983, recorded as moderate. No other known allergies.", TEXT),
        Paragraph("Social context", HEADING),
        Paragraph(
            "Lives alone in a house with one flight of stairs; sister next door but one. Retired lighthouse "
            "librarian. Never smoked; a glass of sherry on Sundays. Independent in washing and dressing. "
            "No package of care.",
            TEXT,
        ),
    ]


def _discharge_results() -> Story:
    results = (
        ("Test", "04-Mar", "06-Mar", "09-Mar", "Reference", "Unit"),
        ("C-reactive protein", "<b>214</b>", "<b>132</b>", "<b>31</b>", "0–5", "mg/L"),
        ("White cell count", "<b>17.8</b>", "<b>12.1</b>", "8.6", "4.0–11.0", "10<super>9</super>/L"),
        ("Haemoglobin", "128", "119", "122", "120–150", "g/L"),
        ("Creatinine", "<b>141</b>", "96", "79", "45–84", "µmol/L"),
        ("Urea", "<b>12.4</b>", "8.0", "5.9", "2.5–7.8", "mmol/L"),
        ("Potassium", "4.6", "4.2", "4.3", "3.5–5.3", "mmol/L"),
        ("HbA1c", "58", "", "", "20–41", "mmol/mol"),
    )
    return [
        Paragraph("Investigations", HEADING),
        grid(results, (0.27, 0.12, 0.12, 0.12, 0.17, 0.2)),
        *bullets(
            "<b>Chest radiograph 04-Mar-2021:</b> consolidation in the right lower lobe; no effusion; heart normal.",
            "<b>Blood cultures:</b> no growth after five days. <b>Urinary pneumococcal antigen:</b> positive.",
            "<b>ECG:</b> sinus tachycardia, otherwise normal.",
        ),
    ]


def _discharge_medicines() -> Story:
    medicines = (
        ("Medicine", "Dose and route", "Status", "Reason and duration"),
        (
            "Doxycycline 100 mg capsules",
            "100 mg once a day by mouth",
            "<b>New</b>",
            "Pneumonia; stop after 11-Mar-2021",
        ),
        ("Paracetamol 500 mg tablets", "1 g up to four times a day by mouth", "<b>New</b>", "Pain; as needed, 14 days"),
        ("Metformin 500 mg tablets", "500 mg twice a day by mouth", "Unchanged", "Diabetes; restarted 08-Mar-2021"),
        ("Atorvastatin 20 mg tablets", "20 mg at night by mouth", "Unchanged", "Long term"),
        ("Colecalciferol 800 unit capsules", "800 units once a day by mouth", "Unchanged", "Long term"),
        ("Ramipril 5 mg capsules", "–", "<b>Stopped</b>", "Kidney injury and low blood pressure; see plan"),
        ("Naproxen 250 mg tablets", "–", "<b>Stopped</b>", "Kidney injury; please do not restart"),
    )
    return [Paragraph("Medications", HEADING), grid(medicines, (0.27, 0.27, 0.14, 0.32))]


def _discharge_plan(patient: Patient) -> Story:
    return [
        Paragraph("Plan and requested actions", HEADING),
        Paragraph("<b>General practice</b>", TEXT),
        *bullets(
            "Please check renal function and blood pressure in two weeks and restart ramipril at 2.5 mg if the "
            "creatinine is below 90 µmol/L and the systolic pressure above 120 mmHg.",
            "Please repeat the chest radiograph in six weeks (week of 19-Apr-2021); request form given to the patient.",
            "Please offer pneumococcal vaccination if it is not up to date.",
        ),
        Spacer(0, 2 * mm),
        Paragraph("<b>Hospital</b>", TEXT),
        *bullets(
            "Orthopaedic pre-assessment has been told of this admission; a new date will be posted.",
            "No routine follow-up in Acute Medicine.",
        ),
        Paragraph("Information given to the patient", HEADING),
        Paragraph(
            "Diagnosis and medicines explained to Mrs Thistlequill and, with her consent, to her sister. Leaflet "
            "“Recovering from pneumonia” given. She knows to call 111 or the practice if fever or breathlessness "
            "return, and 999 for chest pain or confusion.",
            TEXT,
        ),
        Paragraph("Person completing the record", HEADING),
        grid(
            (
                ("Name and grade", "Dr Rosalind Peppercombe, Foundation Year 2"),
                ("Contact", "01632 960121, bleep 4471"),
                ("Completed", "09-Mar-2021 12:48"),
                ("Distribution", f"{patient.surgery.doctor}, {patient.surgery.name}; {patient.name}; hospital record"),
            ),
            (0.25, 0.75),
            header=False,
        ),
    ]


def _discharge_leaflet(patient: Patient) -> Story:
    """The last part, for the patient."""
    return [
        Spacer(0, 8 * mm),
        Paragraph(f"For you, {patient.title} {patient.family}", TITLE),
        Paragraph("Why you were in hospital", HEADING),
        Paragraph(
            "You had an infection of the right lung (pneumonia). It made you short of oxygen and dried you out, which "
            "strained your kidneys for a few days. Antibiotics, fluids and oxygen have put this right.",
            TEXT,
        ),
        Paragraph("Your medicines", HEADING),
        *bullets(
            "Take one <b>doxycycline</b> capsule each morning with a full glass of water, sitting up. The last one "
            "is on <b>Thursday 11 March</b>.",
            "Do <b>not</b> take <b>ramipril</b> until your practice tells you to.",
            "Do <b>not</b> take <b>naproxen</b> or buy ibuprofen. Paracetamol is safe for your hip.",
            "Carry on with everything else as before.",
        ),
        Paragraph("What happens next", HEADING),
        grid(
            (
                ("When", "What", "Where"),
                ("In two weeks", "Blood test and blood pressure", patient.surgery.name),
                ("Week of 19 April", "Chest X-ray; bring the form you were given", f"{HOSPITAL}, Imaging"),
                ("By post", "New date for your hip assessment", "At home"),
            ),
            (0.22, 0.45, 0.33),
        ),
        Paragraph("When to ask for help", HEADING),
        Paragraph(
            "You may cough and tire easily for six weeks or more; that is usual. Ring <b>111</b> or your practice if "
            "the fever comes back or you are more breathless. Ring <b>999</b> for chest pain, blue lips or "
            "new confusion.",
            TEXT,
        ),
    ]


def _radiology_story(patient: Patient) -> Story:
    request = (
        ("Examination", "CT head, without contrast"),
        ("Performed", "05-Nov-2009 11:32, accession number 0911-004711"),
        ("Requested by", "Dr Marigold Nettlefold, Ward 7, Elderly Medicine"),
        ("Clinical details", "Fall at home two days ago, on warfarin until October. More drowsy today. ? subdural."),
    )
    return [
        *letterhead("Department of Clinical Radiology", "01632 960155"),
        Paragraph("Radiology report", TITLE),
        person(patient),
        grid(request, (0.22, 0.78), header=False),
        Paragraph("Findings", HEADING),
        Paragraph(
            "Axial images from skull base to vertex. No acute intracranial haemorrhage. No extra-axial collection; in "
            "particular no subdural haematoma. Ventricles and sulci are prominent in keeping with age. There are "
            "patchy areas of low attenuation in the periventricular white matter, suggesting small vessel disease.",
            TEXT,
        ),
        Paragraph(
            "No mass or midline shift. The basal cisterns are clear. No skull fracture on bone windows. Mucosal "
            "thickening in the left maxillary sinus.",
            TEXT,
        ),
        Paragraph("Conclusion", HEADING),
        Paragraph("<b>No haemorrhage and no fracture.</b> Age-related and small vessel changes.", TEXT),
        Spacer(0, 8 * mm),
        Paragraph(
            "Reported by Dr Octavian Merriweather-Vane, Consultant Radiologist<br/>"
            f"Verified {day(date(2009, 11, 5))} 12:10. Result telephoned to Ward 7 at 12:12.",
            TEXT,
        ),
    ]


def _withdrawn_story(patient: Patient) -> Story:
    red = HexColor("#da291c")
    address = "<br/>".join((patient.surgery.doctor, patient.surgery.name, *patient.surgery.address))
    return [
        *letterhead("Department of Dermatology", "01632 960163"),
        Paragraph("04-Nov-2019", TEXT),
        Paragraph(address, TEXT),
        Spacer(0, 3 * mm),
        Paragraph("Dear Dr Inglewhistle", TEXT),
        person(patient),
        Paragraph(
            "Thank you for asking us to see this patient, who attended the dermatology clinic today with a changing "
            "mole on the left shoulder. On dermoscopy the lesion is a regular, benign compound naevus of 5 mm. I have "
            "reassured her and given advice about the sun. No follow-up is planned.",
            TEXT,
        ),
        Paragraph("Yours sincerely", TEXT),
        Spacer(0, 10 * mm),
        Paragraph("<b>Dr Clementine Farthingale</b><br/>Consultant Dermatologist", TEXT),
        Spacer(0, 8 * mm),
        Paragraph(
            "<i>Filed against the wrong patient. Withdrawn from the record on 12-Nov-2019 by Information Governance, "
            "reference IG/2019/0388.</i>",
            ParagraphStyle(
                "stamp",
                TEXT,
                leftIndent=6,
                rightIndent=6,
                textColor=red,
                borderColor=red,
                borderWidth=1,
                borderPadding=6,
            ),
        ),
    ]
