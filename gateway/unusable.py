"""A file that the settings name and that cannot be used. A value for whoever starts the gateway, apart from what raises it."""

from __future__ import annotations


class UnusableFile(ValueError):
    """`option` is the key that names the file, dotted below its section; the text and `cure` are sentences without content."""

    def __init__(self, option: str, cause: str, cure: str) -> None:
        super().__init__(cause)
        self.option = option
        self.cure = cure
