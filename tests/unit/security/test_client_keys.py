"""The file of clients: what is read from it, and what is said of a line that cannot be."""

from __future__ import annotations

import hashlib

import pytest

from gateway.security.client_keys import UnusableKeys, is_key, line_for, new_key, read_clients

HASH = f"sha256:{'0' * 64}"
KEY = "fgk_" + "k" * 43
"""Of a key's form. A made one would give its test another name in each process, and the processes of a run must agree."""


def test_a_line_that_is_made_is_read() -> None:
    key = new_key()
    text = "\ufeff# clients\n\n" + line_for("pas-prod", key, ("system/Binary.r", "user/*.rs")) + "  # the ward's\r\n"
    clients = read_clients(text.encode())
    identity = clients[hashlib.sha256(key.encode()).digest()]
    assert (identity.client, identity.subject, identity.method) == ("pas-prod", "pas-prod", "bearer")
    assert identity.scopes == {"system/Binary.r", "user/*.rs"}
    assert key not in text


def test_keys_are_long_random_and_of_one_form() -> None:
    keys = {new_key() for _ in range(50)}
    assert len(keys) == 50
    assert all(is_key(key) and len(key) == 47 for key in keys)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("pas", "a name, a hash and at least one scope"),
        (f"pas {HASH}", "a name, a hash and at least one scope"),
        (f"p/s {HASH} system/Binary.r", "a name is"),
        ("pas password system/Binary.r", "sha256: and 64"),
        (f"pas {HASH[:-1]} system/Binary.r", "sha256: and 64"),
        (f"pas {KEY} system/Binary.r", "this is a key itself"),
        (f"pas {HASH} Binary.r", "a scope is one such as"),
        (f"pas {HASH} patient/Binary.r", "begins with system/ or user/"),
        (f"pas {HASH} system/Binary.r\npacs {HASH} system/Binary.r", "line 3: this hash stands in the file already"),
    ],
)
def test_a_line_that_cannot_be_is_named_and_not_repeated(line: str, why: str) -> None:
    with pytest.raises(UnusableKeys) as refused:
        read_clients(f"# clients\n{line}\n".encode())
    assert why in str(refused.value)
    assert "line " in str(refused.value)
    assert not any(word in str(refused.value) for word in line.split() if len(word) > 20)


@pytest.mark.parametrize(
    ("text", "why"),
    [(b"", "no key"), (b"# nothing\n", "no key"), (b"\xff\xfe", "UTF-8"), (b"#" * ((1 << 20) + 1), "MiB")],
)
def test_a_file_without_keys_is_refused(text: bytes, why: str) -> None:
    with pytest.raises(UnusableKeys, match=why):
        read_clients(text)


@pytest.mark.parametrize(("name", "scopes"), [("", ("system/Binary.r",)), ("a b", ("system/Binary.r",)), ("pas", ()),
                                              ("pas", ("patient/Binary.r",)), ("pas", ("system/Binary.r x",))])  # fmt: skip
def test_no_line_is_made_that_could_not_be_read(name: str, scopes: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"A (client's name|scope)"):
        line_for(name, new_key(), scopes)
