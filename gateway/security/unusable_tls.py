"""The one thing that can be wrong with the files of a certificate, told apart from reading them, which loads a library."""

from __future__ import annotations


class TlsProblem(Exception):
    """The files cannot be used. `option` is the key below `server.tls`, `cure` a sentence; the text names no content."""

    def __init__(self, option: str, cause: str, cure: str) -> None:
        super().__init__(cause)
        self.option = option
        self.cure = cure
