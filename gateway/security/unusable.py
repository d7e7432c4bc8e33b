"""What the settings of `auth` name and cannot be used. A value for whoever starts the gateway."""

from __future__ import annotations


class UnusableCredentials(Exception):
    """A key set, key file or certificate. `path` is the key that names it; `cause` and `cure` are sentences."""

    def __init__(self, path: tuple[str | int, ...], cause: str, cure: str) -> None:
        super().__init__(cause)
        self.path = ("auth", *path)
        self.cause = cause
        self.cure = cure
