"""The demonstration: an invented archive that the gateway can serve on any machine within a minute.

`archive` and its neighbours draw the documents (developers only, extra `demo`); `large` writes the big one with the
standard library at set-up; this module finds the drawn archive. Nothing of the gateway proper imports this package,
and importing it does no work.
"""

from __future__ import annotations

from pathlib import Path

LARGE_DOCUMENT = Path("large", "large-scan.tif")
"""The path inside the archive of the one document that is not shipped: `gateway.demo.large.write_large` makes it."""


def archive_directory() -> Path:
    """The directory of the sample archive, in a source checkout or in an installed wheel.

    Raises `FileNotFoundError` with a sentence that names the cure when the installation holds neither.
    """
    here = Path(__file__).resolve()
    for directory in (here.with_name("sample-archive"), here.parents[2] / "config" / "sample-archive"):
        if (directory / "manifest.csv").is_file():
            return directory
    raise FileNotFoundError(
        "The sample archive is not part of this installation. Install the released wheel, or draw the archive in a "
        "source checkout with: python -m gateway.demo.archive config/sample-archive"
    )
