"""`python -m tests.broken [NAME ...]` writes the answers of the shelf anew."""

import sys

from tests.broken.asking import answer, cases
from tests.broken.site import site

with site() as here:
    for case in cases():
        if not sys.argv[1:] or case.name in sys.argv[1:]:
            case.answer.write_text(answer(case, here))
