"""The options of the smb adapter. Nothing here touches the network or a file; what the server is like is found on entering.

Rules of this module: what cannot work is refused here with the cure, also where two options contradict each other, and no
refusal repeats what was written.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails

from adapters.declaring import Seconds, wrong
from adapters.errors import InvalidLocator
from adapters.smb.names import to_path

SMALLEST_WINDOW = 256 << 10
LARGEST_WINDOW = 64 << 20

_host = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9_.])?").fullmatch
_with_port = re.compile(r"(?:\[.*\]|[^:\[\]]*):[0-9]{1,5}").fullmatch
# [MS-SMB2] 2.2.9 leaves it to the server; these are what Windows allows nowhere in a share's name.
_share = re.compile(r'[^\x00-\x1f\x7f"\\/\[\]:|<>+=;,*?]{1,80}').fullmatch
# A Kerberos principal may have slashes, and who knows what a Unix server calls its users.
_account = re.compile(r"(?:[^\x00-\x1f\x7f\\]{1,255}\\)?[^\x00-\x1f\x7f\\]{1,255}").fullmatch


def _dialect(value: Any) -> Any:
    # YAML reads 3.0 as a number.
    return str(value) if isinstance(value, float) else value


def _server_name(value: str) -> str:
    if "/" in value or "\\" in value:
        raise wrong(
            "A path or a URL was given.",
            "Write the server's name or address alone, as in fileserver.trust.local; the share has its own key, `share`.",
        )
    if _with_port(value):
        raise wrong("A server and a port were given together.", "Give the port in the key `port`.")
    if not (_host(value) or (":" in value and _is_address(value))):
        raise wrong(
            "This is not the name or the address of a server.",
            "Write it alone, as in fileserver.trust.local, 10.1.2.3 or fd00::7.",
        )
    return value


def _is_address(value: str) -> bool:
    try:
        ipaddress.IPv6Address(value)
    except ValueError:
        return False
    return True


class SmbOptions(BaseModel):
    """The options of the smb adapter."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    server: str = Field(
        description="The file server's name or address. Kerberos needs the name.", examples=["fileserver.trust.local"]
    )
    port: int = Field(default=445, ge=1, le=65535, description="The TCP port.")
    share: str = Field(
        description="The share that holds the documents: one name, without slashes.", examples=["letters"]
    )
    path: str = Field(
        default="",
        description="The folder in the share that locators begin at, with / or \\ between folders; empty is the share's "
        "root.",
    )
    username: str | None = Field(
        default=None,
        description="The service account: `user`, `DOMAIN\\user` or `user@domain`. It needs no more than to read.",
        examples=["svc-fhir"],
    )
    domain: str | None = Field(default=None, description="The account's domain, where `username` does not say it.")
    password: SecretStr | None = Field(default=None, description="The account's password; a file is better.")
    password_file: Path | None = Field(
        default=None,
        description="A file that holds the password alone. It is read anew for each connection, so a password that "
        "changes needs no restart.",
        examples=["/run/secrets/smb"],
    )
    auth: Literal["negotiate", "ntlm", "kerberos"] = Field(
        default="negotiate",
        description="How the account proves itself; negotiate takes Kerberos where it can and else NTLM.",
    )
    ticket_cache: Path | None = Field(
        default=None,
        description="A file with the account's Kerberos ticket, kept fresh by something else (kinit, k5start).",
    )
    keytab: Path | None = Field(
        default=None, description="A file with the account's Kerberos keys; `username` is then the principal."
    )
    kerberos_host: str | None = Field(
        default=None,
        description="The host in the server's Kerberos principal (`cifs/HOST`) where it is not `server`: for an alias, or an "
        "address.",
        examples=["files01.trust.local"],
    )
    require_encryption: bool = Field(
        default=True,
        description="Whether documents travel encrypted or not at all. Set to false to accept signing alone: whoever "
        "sees the network then reads the documents.",
    )
    require_signing: bool = Field(
        default=True, description="Whether every message must be signed where it is not encrypted."
    )
    minimum_dialect: Annotated[Literal["3.1.1", "3.0", "2.1"], BeforeValidator(_dialect)] = Field(
        default="3.0", description="The oldest SMB dialect to speak; 3.0 came with Windows Server 2012."
    )
    connections: int = Field(
        default=4,
        ge=1,
        le=64,
        description="How many connections to one share may be open; each carries many documents.",
    )
    idle_timeout: Seconds = Field(
        default=60.0, gt=0, description="How long a connection stays open when no document is open on it."
    )
    dfs_servers: tuple[str, ...] = Field(
        default=(),
        description="The servers besides `server` that a DFS namespace may lead to. Others are refused: the account's "
        "log-on would be sent to them.",
    )
    reparse_points: Literal["refuse", "serve"] = Field(
        default="refuse",
        description="What to do with files that only stand for others. serve is for servers that deduplicate or tier "
        "their files; symbolic links are refused always.",
    )
    engine: Literal["native", "library"] = Field(
        default="native",
        description="What reads documents: native is the gateway's own data path, library is smbprotocol alone, "
        "which is slower.",
    )
    window: ByteSize = Field(
        default=ByteSize(8 << 20),
        description="How many bytes are read ahead of one reader at most; the distance to the server decides how many "
        "really are.",
    )
    settle: Seconds = Field(
        default=0.0,
        description="How long a document must have stood unchanged before it is served (`5s`). Younger ones are "
        "answered as busy, since their writer may not be done. 0s serves at once. Compares the server's clock with the "
        "gateway's.",
    )
    max_open: int | None = Field(
        default=None, ge=1, description="How many documents the server lets the account have open; null for no limit."
    )

    @field_validator("server")
    @classmethod
    def _a_server(cls, value: str) -> str:
        return _server_name(value)

    @field_validator("kerberos_host")
    @classmethod
    def _a_host(cls, value: str | None) -> str | None:
        return value and _server_name(value)

    @field_validator("dfs_servers")
    @classmethod
    def _servers(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(_server_name, values))

    @field_validator("share")
    @classmethod
    def _a_share(cls, value: str) -> str:
        if "/" in value or "\\" in value:
            raise wrong(
                "The share is one name without slashes.",
                "Write the name alone, as in letters; the server and a folder have their own keys, `server` and `path`.",
            )
        if value.upper() == "IPC$":
            raise wrong("IPC$ holds no documents.", "Name the share that holds them.")
        if not _share(value):
            raise wrong("No share can have this name.", "Write it as the server shows it, as in letters.")
        return value

    @field_validator("path")
    @classmethod
    def _a_folder(cls, value: str) -> str:
        if value.startswith(("//", "\\\\")):
            raise wrong(
                "The path is a folder inside the share.", "Give the server and the share in `server` and `share`."
            )
        folder = value.replace("\\", "/").strip("/")
        try:
            return folder and to_path(folder).replace("\\", "/")
        except InvalidLocator as error:
            reason = error.detail.removeprefix("the locator ")
        raise wrong(f"The path {reason}.", "Write a folder inside the share, as in archive/letters.")

    @field_validator("username")
    @classmethod
    def _an_account(cls, value: str | None) -> str | None:
        if value is not None and not _account(value):
            raise wrong("No account can have this name.", "Write `user`, `DOMAIN\\user` or `user@domain`.")
        return value

    @field_validator("domain")
    @classmethod
    def _a_domain(cls, value: str | None) -> str | None:
        if value is not None and (not _account(value) or "\\" in value or "@" in value):
            raise wrong("This is not the name of a domain.", "Write it alone, as in TRUST or trust.local.")
        return value

    @field_validator("password")
    @classmethod
    def _a_password(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value():
            raise wrong("The password is empty.", "Give one, or remove the line.")
        return value

    @field_validator("window")
    @classmethod
    def _bounded(cls, value: ByteSize) -> ByteSize:
        if not SMALLEST_WINDOW <= value <= LARGEST_WINDOW:
            raise wrong("This window cannot work.", "Write a size between 256KiB and 64MiB, as in 8MiB.")
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> SmbOptions:
        errors = [
            InitErrorDetails(type=wrong(cause, cure), loc=(option,), input=None)
            for option, cause, cure in _conflicts(self)
        ]
        if errors:
            raise ValidationError.from_exception_data("SmbOptions", errors)
        return self


def _conflicts(options: SmbOptions) -> Iterable[tuple[str, str, str]]:
    """What contradicts each other: the option to name, the cause, the cure."""
    tickets = [name for name in ("ticket_cache", "keytab") if getattr(options, name) is not None]
    passwords = [name for name in ("password", "password_file") if getattr(options, name) is not None]
    username = options.username or ""
    if len(tickets) == 2:
        yield "keytab", "A ticket cache and a keytab were given.", "Keep one of them."
    elif len(passwords) == 2:
        yield "password", "A password was given twice.", "Keep `password_file` and remove `password`."
    elif tickets and passwords:
        yield passwords[0], f"A password and `{tickets[0]}` were given.", "Keep one of them."
    elif not tickets and not passwords:
        yield "password_file", "The account has no password.", "Add `password_file`, or `keytab` for Kerberos."
    if tickets and options.auth == "ntlm":
        yield "auth", f"NTLM has no use for `{tickets[0]}`.", "Set `auth: kerberos`, or give a password instead."
    if not username and "ticket_cache" not in tickets:
        yield "username", "There is no account to log on with.", "Add `username: svc-fhir`."
    if options.domain is not None and ("\\" in username or "@" in username):
        yield "domain", "The domain was given twice.", "Remove `domain`, or write `username` without one."
    if options.require_encryption and options.minimum_dialect == "2.1":
        yield (
            "minimum_dialect",
            "SMB 2.1 cannot encrypt, and `require_encryption` is on.",
            "Raise it to 3.0, or set `require_encryption: false` to accept signing alone.",
        )
