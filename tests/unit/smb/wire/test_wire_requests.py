"""The requests: what smbprotocol reads out of them is what was meant."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from smbprotocol.connection import SMB2CancelRequest, SMB2Echo
from smbprotocol.file_info import FileInformationClass
from smbprotocol.open import (
    CloseFlags,
    CreateDisposition,
    CreateOptions,
    DirectoryAccessMask,
    FilePipePrinterAccessMask,
    ImpersonationLevel,
    QueryDirectoryFlags,
    RequestedOplockLevel,
    ShareAccess,
    SMB2CloseRequest,
    SMB2CreateRequest,
    SMB2QueryDirectoryRequest,
    SMB2ReadRequest,
)
from smbprotocol.session import SMB2Logoff
from smbprotocol.structure import Structure
from smbprotocol.tree import SMB2TreeDisconnect

from adapters.smb.wire import cancel, close, create, echo, logoff, query_directory, read, tree_disconnect
from tests.unit.smb.wire.server import FILE_ID

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
FILE_IDS = st.binary(min_size=16, max_size=16)


def unpacked(kind: type[Structure], body: bytes) -> Structure:
    """`body` as smbprotocol reads it; nothing may be left over."""
    structure = kind()
    rest = structure.unpack(body)
    assert rest == b""
    return structure


@given(path=TEXT, folder=st.booleans(), disk_id=st.booleans())
def test_create_names_the_path_and_asks_only_to_read(path: str, folder: bool, disk_id: bool) -> None:
    body = create(path, folder=folder, disk_id=disk_id)
    theirs = unpacked(SMB2CreateRequest, body)
    name = theirs["buffer_path"].get_value() if theirs["name_length"].get_value() else b""
    assert name.decode("utf-16-le") == path
    mask = DirectoryAccessMask.FILE_LIST_DIRECTORY if folder else FilePipePrinterAccessMask.FILE_READ_DATA
    assert theirs["desired_access"].get_value() == (
        mask | FilePipePrinterAccessMask.FILE_READ_ATTRIBUTES | FilePipePrinterAccessMask.SYNCHRONIZE
    )
    assert theirs["share_access"].get_value() == (
        ShareAccess.FILE_SHARE_READ | ShareAccess.FILE_SHARE_WRITE | ShareAccess.FILE_SHARE_DELETE
    )
    assert theirs["create_disposition"].get_value() == CreateDisposition.FILE_OPEN
    assert theirs["create_options"].get_value() == (
        CreateOptions.FILE_DIRECTORY_FILE
        if folder
        else CreateOptions.FILE_NON_DIRECTORY_FILE | CreateOptions.FILE_SEQUENTIAL_ONLY
    )
    assert theirs["requested_oplock_level"].get_value() == RequestedOplockLevel.SMB2_OPLOCK_LEVEL_NONE
    assert theirs["impersonation_level"].get_value() == ImpersonationLevel.Impersonation
    assert theirs["file_attributes"].get_value() == 0
    contexts = theirs["buffer_contexts"].get_value()
    assert [one["buffer_name"].get_value() for one in contexts] == ([b"QFid"] if disk_id else [])


@given(path=TEXT, folder=st.booleans())
def test_create_says_where_its_parts_are(path: str, folder: bool) -> None:
    whole = bytes(64) + create(path, folder=folder)
    theirs = unpacked(SMB2CreateRequest, whole[64:])
    start, length = theirs["name_offset"].get_value(), theirs["name_length"].get_value()
    assert whole[start : start + length].decode("utf-16-le") == path
    start, length = theirs["create_contexts_offset"].get_value(), theirs["create_contexts_length"].get_value()
    assert start % 8 == 0
    assert start + length == len(whole)
    assert whole[start + 16 : start + 20] == b"QFid"


@pytest.mark.parametrize("disk_id", [True, False])
def test_create_of_the_share_itself_has_a_buffer_that_is_not_empty(disk_id: bool) -> None:
    theirs = unpacked(SMB2CreateRequest, create("", folder=True, disk_id=disk_id))
    assert theirs["name_length"].get_value() == 0
    assert len(create("", folder=True, disk_id=disk_id)) > 56, "[MS-SMB2] 2.2.13 wants at least one byte"


@given(file_id=FILE_IDS, offset=st.integers(0, (1 << 63) - 1), length=st.integers(1, (1 << 32) - 1))
def test_read_asks_for_what_it_was_told(file_id: bytes, offset: int, length: int) -> None:
    theirs = unpacked(SMB2ReadRequest, read(file_id, offset, length))
    values = {name: theirs[name].get_value() for name in theirs.fields}
    assert values == {
        "structure_size": 49, "padding": 80, "flags": 0, "length": length, "offset": offset, "file_id": file_id,
        "minimum_count": 0, "channel": 0, "remaining_bytes": 0, "read_channel_info_offset": 0,
        "read_channel_info_length": 0, "buffer": b"\0",
    }  # fmt: skip


@given(FILE_IDS)
def test_close_asks_for_the_facts(file_id: bytes) -> None:
    theirs = unpacked(SMB2CloseRequest, close(file_id))
    assert theirs["structure_size"].get_value() == 24
    assert theirs["file_id"].get_value() == file_id
    assert theirs["flags"].get_value() == CloseFlags.SMB2_CLOSE_FLAG_POSTQUERY_ATTRIB


@given(file_id=FILE_IDS, pattern=TEXT.filter(bool), length=st.integers(1, 1 << 20), restart=st.booleans())
def test_query_directory_asks_for_names_sizes_and_attributes(
    file_id: bytes, pattern: str, length: int, restart: bool
) -> None:
    theirs = unpacked(SMB2QueryDirectoryRequest, query_directory(file_id, pattern, length=length, restart=restart))
    assert theirs["file_information_class"].get_value() == FileInformationClass.FILE_DIRECTORY_INFORMATION
    assert theirs["flags"].get_value() == (QueryDirectoryFlags.SMB2_RESTART_SCANS if restart else 0)
    assert theirs["file_index"].get_value() == 0
    assert theirs["file_id"].get_value() == file_id
    assert theirs["file_name_offset"].get_value() == 96
    assert theirs["output_buffer_length"].get_value() == length
    assert theirs["buffer"].get_value().decode("utf-16-le") == pattern


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (echo(), SMB2Echo),
        (logoff(), SMB2Logoff),
        (tree_disconnect(), SMB2TreeDisconnect),
        (cancel(), SMB2CancelRequest),
    ],
)
def test_the_requests_without_contents(body: bytes, kind: type[Structure]) -> None:
    assert body == kind().pack()


def test_a_name_that_cannot_be_written_is_refused() -> None:
    with pytest.raises(ValueError):
        create("letter\ud800.pdf")
    with pytest.raises(ValueError):
        create("x" * 32_768)
    with pytest.raises(ValueError):
        query_directory(FILE_ID, "\udfff*", length=65536, restart=True)
    assert len(create("x" * 32_767)) > 65_534
