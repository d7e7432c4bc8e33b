"""Hostile and broken requests: each gets a proper answer, leaves one line in the log without a word of its own, and
disturbs nothing.

Every case asks for a document right afterwards, on the same connection where the answer left it open, else on a new
one; all cases of a group share one gateway.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from gateway.fhir import Version
from gateway.protocol.negotiation import Format
from tests.integration.archive import LETTER, STORED, every_format, letters, outcome
from tests.support.raw_http import Answer, connect, request

CANARY = "CaNaRy9990000018"
"""Text of a request that may come back nowhere."""


@dataclass(frozen=True)
class Case:
    """A request and its answer: a 200 is the document "letter"."""

    status: int
    target: str = "/R4/Binary/letter"
    fields: Mapping[str, str] = field(default_factory=dict)
    method: str = "GET"
    body: bytes = b""
    version: str = "1.1"

    def data(self, format: Format) -> bytes:
        """The request; where it does not say itself what it accepts, the stored form and errors in `format`."""
        accept = {} if "Accept" in self.fields else {"Accept": f"application/pdf, {format.media_type};q=0.1"}
        fields = tuple((accept | dict(self.fields)).items())
        return request(self.target, method=self.method, fields=fields, version=self.version, body=self.body)


def ids() -> dict[str, Case]:
    """Ids that are none."""
    texts = {
        "65 characters": CANARY + "x" * 49, "4000 characters": CANARY * 250,
        "dot": ".", "two dots": "..", "escaped dots": "%2e%2e", "mixed dots": ".%2E",
        "up and out": "..%2f..%2fetc%2fpasswd" + CANARY, "up and out, backslashes": "..%5c..%5c" + CANARY,
        "slash": f"{CANARY}%2Fletter", "escaped twice": f"%252e%252e%252f{CANARY}",
        "overlong": f"%c0%ae%c0%ae%c0%af{CANARY}",
        "NUL": f"letter%00{CANARY}", "NUL alone": "%00", "line break": f"letter%0d%0aX-Canary:%20{CANARY}",
        "unicode": f"%C3%A9%E2%82%AC{CANARY}", "not UTF-8": f"%ff%fe{CANARY}", "surrogate": f"%ED%A0%80{CANARY}",
        "fullwidth": f"%EF%BC%8E%EF%BC%8E{CANARY}", "right-to-left": f"%E2%80%AE{CANARY}",
        "broken escape": f"%zz{CANARY}", "half an escape": f"{CANARY}%", "space": f"{CANARY}%20x",
        "plus": f"{CANARY}+x",
        "underscore": f"{CANARY}_x", "tilde": f"~{CANARY}", "colon": f"{CANARY}:stream", "drive": f"C:{CANARY}",
        "semicolon": f"letter;{CANARY}", "markup": f"%3Cscript%3E{CANARY}", "quote": f"%22%27{CANARY}",
        "format string": f"%25s%25n{CANARY}", "template": f"%7B%7B7*7%7D%7D{CANARY}", "shell": f"$(id){CANARY}",
        "lookup": f"$%7Bjndi:ldap://{CANARY}%7D", "fragment": f"letter#{CANARY}",
    }  # fmt: skip
    cases = {f"id: {name}": Case(404, f"/R4/Binary/{text}") for name, text in texts.items()}
    cases["id: empty"] = Case(404, "/R4/Binary/")
    cases["id: empty, and a history"] = Case(404, "/R4/Binary//_history/1")
    for name, text in (("a FHIR id", CANARY), ("dots", ".."), ("a slash", f"%2F{CANARY}"), ("NUL", f"%00{CANARY}")):
        cases[f"version: {name}"] = Case(404, f"/R4/Binary/letter/_history/{text}")
    return cases


def ranges() -> dict[str, Case]:
    """Ranges that make no sense are left out of account; those that miss the document are refused."""
    ignored = {
        "reversed": "bytes=9-3", "multiple": "bytes=0-1,3-4", "overlapping thousandfold": "bytes=" + "0-," * 1000,
        "not numbers": f"bytes={CANARY}-", "negative": "bytes=--3", "hexadecimal": "bytes=0x0-0x9",
        "huge": f"bytes={'9' * 400}-",
        "another unit": f"{CANARY}=0-3", "no unit": "0-3", "empty": "bytes=", "arabic digits": "bytes=\xb2-\xb3",
    }  # fmt: skip
    beyond = {"beyond the end": "bytes=999999-", "2^64": f"bytes={2**64}-", "nothing": "bytes=-0"}
    cases = {f"range: {name}": Case(200, fields={"Range": value}) for name, value in ignored.items()}
    return cases | {f"range: {name}": Case(416, fields={"Range": value}) for name, value in beyond.items()}


def fields() -> dict[str, Case]:
    """Header fields: wrong, enormous, or trying to become something else."""
    cases = {
        "accept: 8 KiB of other types": Case(406, fields={"Accept": f"application/{CANARY}," * 290}),
        "accept: 8 KiB and the stored type": Case(200, fields={"Accept": f"x/{CANARY}," * 400 + "application/pdf"}),
        "accept: 8 KiB of nothing": Case(200, fields={"Accept": "," * 8192}),
        "accept: 8 KiB in quotes": Case(200, fields={"Accept": f'application/pdf;a="{CANARY * 500}"'}),
        "accept: a quote without end": Case(200, fields={"Accept": 'application/pdf;a="' + "\\" * 8000}),
        "accept: no type": Case(200, fields={"Accept": f";;,{CANARY},/,*"}),
        "accept: weights": Case(406, fields={"Accept": f"*/*;q={CANARY}, application/pdf;q=1e999, image/png;q=0.5"}),
        "if-none-match: garbage": Case(200, fields={"If-None-Match": f'"{CANARY}, W/\\" ,,"" x"'}),
        "if-none-match: 8 KiB of tags": Case(200, fields={"If-None-Match": f'"{CANARY}", ' * 400}),
        "if-none-match: 8 KiB of quotes": Case(200, fields={"If-None-Match": '"' * 8191}),
        "if-match: garbage": Case(412, fields={"If-Match": CANARY}),
        "if-modified-since: garbage": Case(200, fields={"If-Modified-Since": CANARY}),
        "if-modified-since: long": Case(200, fields={"If-Modified-Since": "9" * 8000}),
        "if-range: garbage": Case(200, fields={"If-Range": CANARY, "Range": "bytes=0-3"}),
        "prefer: garbage": Case(200, fields={"Prefer": f'handling="{CANARY}, strict'}),
        "expect: garbage": Case(200, fields={"Expect": CANARY}),
        "content type: garbage": Case(200, fields={"Content-Type": f"{CANARY}; charset=\xff"}),
        "content encoding": Case(200, fields={"Content-Encoding": "gzip", "Accept-Encoding": f"{CANARY};q=0"}),
        "cookie": Case(200, fields={"Cookie": f"sid={CANARY}", "Authorization": f"Bearer {CANARY}"}),
        "request id: markup": Case(200, fields={"X-Request-Id": f"<{CANARY}>", "X-Correlation-Id": f"${{{CANARY}}}"}),
        "request id: a header": Case(200, fields={"X-Request-Id": f"a\r\nX-Canary: {CANARY}"}),
        "request id: a bare return": Case(400, fields={"X-Request-Id": f"a\rX-Canary: {CANARY}"}),
        "request id: NUL": Case(400, fields={"X-Request-Id": f"a\0{CANARY}"}),
        "request id: 8 KiB": Case(200, fields={"X-Request-Id": CANARY * 500, "X-Correlation-Id": CANARY * 7}),
        "a field of 20 KiB": Case(431, fields={"X-Field": CANARY * 1250}),
        "a name of 20 KiB": Case(431, fields={CANARY * 1250: "x"}),
        "a field name with a space": Case(400, fields={f"X {CANARY}": "x"}),
        "a second host": Case(400, fields={"Host ": CANARY}),
        "hop by hop": Case(200, fields={"Connection": f"keep-alive, {CANARY}, Content-Length"}),
        "an upgrade": Case(200, fields={"Connection": "Upgrade", "Upgrade": f"websocket, {CANARY}"}),
        "an old websocket": Case(400, fields={"Sec-WebSocket-Key1": CANARY}),
    }
    return cases


def queries() -> dict[str, Case]:
    """Query strings."""
    texts = {
        "_format=banana": 406, f"_format={CANARY}": 406, "_format=%00": 406, "_format=" + "json" * 1500: 406,
        f"_format=json&_format={CANARY}": 400, f"_summary={CANARY}": 400, f"_elements={CANARY},%22": 400,
        f"_pretty={CANARY}": 400,
        f"{CANARY}=1": 200, f"%zz%{CANARY}=%": 200, "&" * 4000: 200, f"{CANARY}&" * 400: 200, f"?{CANARY}?=?": 200,
        f"a=%0d%0aX-Canary:{CANARY}": 200, f"_FORMAT={CANARY}": 200, f"_format[]={CANARY}": 200,
        f"_format%00={CANARY}": 200,
        f"' OR 1=1 --{CANARY}".replace(" ", "+"): 200, f"_elements={'a,' * 3000}%22{CANARY}": 400,
    }  # fmt: skip
    return {
        f"query: {text[:30]}": Case(status, f"/R4/Binary/letter?{text}") for text, status in texts.items()
    } | {
        "query: on nothing": Case(404, f"/?{CANARY}"),
        "query: a search": Case(405, f"/R4/Binary?patient={CANARY}"),
        "query: strictly": Case(400, f"/R4/Binary/letter?{CANARY}=1", fields={"Prefer": "handling=strict"}),
        "address: too long": Case(414, f"/R4/Binary/{CANARY * 600}"),
        "address: query too long": Case(414, f"/R4/Binary/letter?a={CANARY * 600}"),
        "address: a byte of no encoding": Case(400, f"/R4/Binary/\xff{CANARY}"),
        "address: a control character": Case(400, f"/R4/Binary/\x01{CANARY}"),
        "address: absolute, of another host": Case(404, f"http://{CANARY}.test/R4/Binary/{CANARY}"),
        "address: no path": Case(400, CANARY),
        "address: many slashes": Case(404, "/" * 4000 + CANARY),
        "address: many dots": Case(404, "/R4/Binary/" + "../" * 1000 + CANARY),
    }  # fmt: skip


def methods() -> dict[str, Case]:
    """Methods, bodies and versions of HTTP."""
    length = {"Content-Length": str(len(CANARY))}
    chunked, chunk = {"Transfer-Encoding": "chunked"}, b"5\r\nCaNaR\r\n0\r\n\r\n"
    smuggled = request(f"/R4/Binary/{CANARY}")
    return {
        "method: unknown": Case(400, method=CANARY.upper()),
        "method: small letters": Case(400, method="get"),
        "method: TRACE": Case(405, method="TRACE", fields={"X-Field": CANARY}),
        "method: CONNECT": Case(404, f"{CANARY}.test:443", method="CONNECT"),
        "method: PROPFIND": Case(405, method="PROPFIND"),
        "method: DELETE": Case(405, f"/R4/Binary/{CANARY}", method="DELETE"),
        "method: OPTIONS": Case(405, f"/R4/Binary/{CANARY}", method="OPTIONS"),
        "method: PUT with a body": Case(405, method="PUT", fields=length, body=CANARY.encode()),
        "body on GET": Case(400, fields=length, body=CANARY.encode()),
        "body on GET, of no bytes": Case(200, fields={"Content-Length": "0"}),
        "body on GET, in chunks": Case(400, fields=chunked, body=chunk),
        "body on GET, that is a request": Case(400, fields={"Content-Length": str(len(smuggled))}, body=smuggled),
        "body on GET, that never comes": Case(400, fields={"Content-Length": "1000000"}),
        "body of two lengths": Case(400, fields={"Content-Length": "5, 6"}, body=b"hello"),
        "body of length and chunks": Case(400, fields=chunked | {"Content-Length": "5"}, body=b"0\r\n\r\n"),
        "body of odd chunks": Case(400, fields={"Transfer-Encoding": f"{CANARY}, chunked"}, body=chunk),
        "body of a negative length": Case(400, fields={"Content-Length": "-1"}),
        "body of a wordy length": Case(400, fields={"Content-Length": CANARY}),
        "HTTP/1.0": Case(200, version="1.0"),
        "HTTP/1.0, unknown id": Case(404, f"/R4/Binary/{CANARY}", version="1.0"),
        "HTTP/1.0, kept alive": Case(200, version="1.0", fields={"Connection": "keep-alive"}),
        "HTTP/0.9": Case(400, version="0.9"),
        "HTTP/1.2": Case(400, version="1.2"),
        "HTTP/2.0": Case(400, version="2.0"),
        "HTTP/11": Case(400, version="11"),
    }  # fmt: skip


GROUPS = {"ids": ids, "ranges": ranges, "fields": fields, "queries": queries, "methods": methods}


@pytest.mark.parametrize("group", GROUPS)
@every_format
@pytest.mark.requirement("FR-03", "FR-04", "FR-132", "FR-145", "FR-150", "FR-157", "FR-158", "SC-05", "SC-25", "GP-99")
async def test_a_bad_request(group: str, format: Format) -> None:
    answered: list[int] = []
    async with letters() as at:
        for name, case in GROUPS[group]().items():
            async with connect(at.host, at.port) as connection:
                await connection.send(case.data(format))
                answer = await connection.answer(case.method)
                assert answer.status == case.status, name
                check(answer, Format.JSON if "Accept" in case.fields else format, name)
                if answer.field("Connection") != {"1.0": "keep-alive", "1.1": None}[answer.version]:
                    # Nothing more of what was sent is taken for a request.
                    assert await connection.rest() == b"", name
                    after = await at.ask("/R4/Binary/letter")
                else:
                    await connection.send(request("/R4/Binary/letter"))
                    after = await connection.answer()
            assert after.body == LETTER.data, name
            answered += [case.status, 200]
        assert [line["status"] for line in await at.lines(len(answered))] == answered
        assert "canary" not in at.log.getvalue().lower()
        assert "9990000018" not in at.log.getvalue()


def check(answer: Answer, format: Format, name: str) -> None:
    """A 200 is the stored document; all else an outcome (in JSON where no request could be read) without the input."""
    assert answer.complete, name
    assert "canary" not in str(answer.fields).lower(), name
    if answer.status == 200:
        assert answer.body == LETTER.data, name
        return
    assert b"canary" not in answer.body.lower(), name
    unread = answer.field("Content-Security-Policy") is None
    outcome(answer, Version.R4, Format.JSON if unread else format)


@pytest.mark.requirement("FR-158")
async def test_requests_that_come_together_are_answered_one_by_one() -> None:
    kinds = {
        "/R4/Binary/letter": 200,
        f"/R4/Binary/{CANARY}%00": 404,
        "/R4/Binary/gone": 410,
        f"/R4/Binary/letter?_summary={CANARY}": 400,
        "/R4/Binary/picture": 200,
        f"/{CANARY}": 404,
    }
    targets = [*kinds] * 10
    async with letters() as at, connect(at.host, at.port) as connection:
        await connection.send(b"".join(map(request, targets)))
        answers = [await connection.answer() for _ in targets]
        assert [answer.status for answer in answers] == [kinds[target] for target in targets]
        for target, answer in zip(targets, answers, strict=True):
            if answer.status == 200:
                assert answer.body == STORED[target.rpartition("/")[2]].data
        await connection.send(b"NONSENSE " + CANARY.encode() + b"\r\n\r\n")
        assert (await connection.answer()).status == 400
        assert await connection.rest() == b""
        assert len(await at.lines(len(targets) + 1)) == len(targets) + 1
        assert "canary" not in at.log.getvalue().lower()
