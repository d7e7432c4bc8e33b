"""The NTSTATUS table says what smbprotocol and the specification say."""

from __future__ import annotations

import pytest
from smbprotocol.header import NtStatus

from adapters.smb.wire import name_of, status

OURS = {name: code for name, code in vars(status).items() if name.startswith("STATUS_")}
THEIRS = {name: code for name, code in vars(NtStatus).items() if name.startswith("STATUS_")}


def test_the_codes_agree_with_smbprotocol() -> None:
    common = OURS.keys() & THEIRS.keys()
    assert len(common) > 30
    assert {name: OURS[name] for name in common} == {name: THEIRS[name] for name in common}


def test_every_code_has_one_name() -> None:
    assert len(set(OURS.values())) == len(OURS)
    assert {name_of(code): code for code in OURS.values()} == OURS


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (0xC0000034, "STATUS_OBJECT_NAME_NOT_FOUND"),
        (0xC0000234, "STATUS_ACCOUNT_LOCKED_OUT"),
        (0xC000035C, "STATUS_NETWORK_SESSION_EXPIRED"),
        (0, "STATUS_SUCCESS"),
        (0xC0DE0001, "NTSTATUS 0xC0DE0001"),
        (5, "NTSTATUS 0x00000005"),
    ],
)
def test_a_code_is_named_for_an_operator(code: int, name: str) -> None:
    assert name_of(code) == name
