"""Who appears in the sample archive: an invented trust and invented patients.

Everybody here is fiction. NHS numbers are of the test range (they begin with 999, which is never issued) with a valid
modulus 11 check digit; telephone numbers are of Ofcom's range for drama (01632 960xxx); postcodes begin with ZZ99, the
prefix that official statistics use for "no such place"; mail domains end in .example (RFC 2606).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

TRUST = "Wexmoor and Ellerdale Hospitals NHS Foundation Trust"
HOSPITAL = "Ellerdale Royal Infirmary"
HOSPITAL_ADDRESS = ("Lanternfield Road", "Ellerdale", "ZZ99 1EX")
SWITCHBOARD = "01632 960100"
ORGANISATION_CODE = "ZZW01"
NOTICE = "Sample document for software tests. The patient, the staff and the hospital are invented."


@dataclass(frozen=True, slots=True)
class Surgery:
    """A general practice."""

    name: str
    address: tuple[str, ...]
    doctor: str


@dataclass(frozen=True, slots=True)
class Patient:
    """An invented person as a hospital's index knows one. `nhs_number` is ten digits without spaces."""

    title: str
    given: str
    family: str
    born: date
    gender: str
    nhs_number: str
    hospital_number: str
    address: tuple[str, ...]
    surgery: Surgery

    @property
    def name(self) -> str:
        return f"{self.title} {self.given} {self.family}"

    @property
    def formal_name(self) -> str:
        """Family name first, as labels print it."""
        return f"{self.family.upper()}, {self.given} ({self.title})"

    @property
    def spaced_number(self) -> str:
        """The NHS number in the 3-3-4 grouping that NHS identity standards ask for on paper."""
        return f"{self.nhs_number[:3]} {self.nhs_number[3:6]} {self.nhs_number[6:]}"


def day(when: date) -> str:
    """A date as NHS letters write it: 09-Mar-2021, which nobody can read as month and day swapped."""
    months = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
    return f"{when.day:02}-{months[when.month - 1]}-{when.year}"


THORNBECK = Surgery("Thornbeck Lane Surgery", ("4 Thornbeck Lane", "Ellerdale", "ZZ99 2TL"), "Dr Perpetua Inglewhistle")
MILLRACE = Surgery("Millrace Medical Practice", ("The Old Mill", "Upper Wexmoor", "ZZ99 4MR"), "Dr Lysander Oakapple")

THISTLEQUILL = Patient(
    "Mrs", "Philomena", "Thistlequill", date(1948, 5, 17), "female", "9999458076", "ELR0417733",
    ("12 Sundial Crescent", "Ellerdale", "ZZ99 2SC"), THORNBECK,
)  # fmt: skip
QUILLFEATHER = Patient(
    "Mr", "Barnaby", "Quillfeather", date(1961, 10, 2), "male", "9993021571", "ELR0298114",
    ("Gatehouse Cottage", "Mossy Bottom", "Upper Wexmoor", "ZZ99 4GC"), MILLRACE,
)  # fmt: skip
BRAMBLEWICK = Patient(
    "Ms", "Ottoline", "Bramblewick", date(1987, 1, 28), "female", "9993681938", "ELR0530962",
    ("Flat 3, Weavers' Yard", "Ellerdale", "ZZ99 1WY"), THORNBECK,
)  # fmt: skip
MARROWGATE = Patient(
    "Mr", "Cornelius", "Marrowgate", date(1939, 12, 11), "male", "9990364265", "ELR0105287",
    ("Lock Keeper's House", "Canal Side", "Ellerdale", "ZZ99 2CS"), THORNBECK,
)  # fmt: skip
PUDDLECROFT = Patient(
    "Mrs", "Hyacinth", "Puddlecroft", date(1972, 7, 30), "female", "9992129972", "ELR0461350",
    ("8 Rookery Rise", "Upper Wexmoor", "ZZ99 4RR"), MILLRACE,
)  # fmt: skip
FENNIMOOR = Patient(
    "Master", "Peregrine", "Fennimoor", date(2009, 4, 6), "male", "9992200332", "ELR0622041",
    ("Beacon View", "Fennel Hill", "Ellerdale", "ZZ99 1BV"), MILLRACE,
)  # fmt: skip
PATIENTS = (THISTLEQUILL, QUILLFEATHER, BRAMBLEWICK, MARROWGATE, PUDDLECROFT, FENNIMOOR)
