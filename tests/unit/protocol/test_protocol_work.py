"""Hostile headers cost work in proportion to their length, never more.

Work is counted, not timed. The interpreter's steps are counted while a parser runs; what the regular expression engine
does within one step is bounded by their form: every unbounded repeat is possessive, so a match never looks back.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import re._constants as grammar
import re._parser as reader
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

import gateway.protocol
from gateway.fhir import Version
from gateway.protocol import conditional, media_type, negotiation, parameters, ranges
from gateway.protocol.profile import PROFILES

SHORT, LONG = 1024, 8192
"""Lengths in characters; the longer is what a server lets through as one header field."""


def steps(call: Callable[[], object]) -> int:
    """Bytecode instructions executed by `call`."""
    count = 0

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal count
        frame.f_trace_opcodes = True
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return count


def negotiate(text: str) -> None:
    wishes = negotiation.parse(text, text, version=Version.R4, profile=PROFILES["care-connect"])
    negotiation.choose(wishes, "application/pdf")
    negotiation.choose_fhir(wishes)


def query(text: str) -> None:
    try:
        parameters.parse(text)
        parameters.parse("_elements=" + text)
    except parameters.ParameterError:
        pass


PARSERS: list[Callable[[str], object]] = [
    negotiate,
    query,
    media_type.parse,
    ranges.parse,
    parameters.prefers_strict,
    conditional.parse_http_date,
    lambda text: conditional.parse({"If-None-Match": text, "If-Match": text, "If-Modified-Since": text}),
    lambda text: ranges.parse("bytes=" + text),
    lambda text: parameters.prefers_strict('handling="' + text),
]

HOSTILE = [
    "a/b,", "a/b;q=0.5,", ",", ";", ";q=1", '"', '\\"', '"\\', '",', '",",', '"a",', 'W/"', "a/b;a=", "&",
    "_format=json&",
    "a=", "%", "%41", "%c3", "+", "a,", " ", "\t", "=", "*/*,", "1", "0-1,", "-", "handling=lenient,", "x", "é", "\x00",
]  # fmt: skip


@pytest.mark.parametrize("piece", HOSTILE)
def test_work_grows_with_the_length(piece: str) -> None:
    for parser in PARSERS:
        for prefix in ("", '"'):
            short = steps(lambda: parser(prefix + piece * (SHORT // len(piece))))  # noqa: B023 - called at once
            long = steps(lambda: parser(prefix + piece * (LONG // len(piece))))  # noqa: B023
            assert long <= LONG / SHORT * short + 1000, (parser, prefix)


def unbounded_repeats(pattern: Any) -> list[Any]:
    """The repeats without an upper bound that may give back what they matched, anywhere in a parsed pattern."""
    found = []
    for operation, argument in pattern:
        if operation in (grammar.MAX_REPEAT, grammar.MIN_REPEAT) and argument[1] is grammar.MAXREPEAT:
            found.append(operation)
        stack = [argument]
        while stack:
            item = stack.pop()
            if isinstance(item, reader.SubPattern):
                found += unbounded_repeats(item)
            elif isinstance(item, list | tuple):
                stack.extend(item)
    return found


def test_no_pattern_looks_back() -> None:
    assert unbounded_repeats(reader.parse("(a|b*)x{3}")), "the check itself sees a greedy repeat"
    patterns = {}
    for module in pkgutil.iter_modules(gateway.protocol.__path__, "gateway.protocol."):
        for name, value in vars(importlib.import_module(module.name)).items():
            for pattern in (
                value.values() if isinstance(value, dict) else value if isinstance(value, tuple) else [value]
            ):
                if isinstance(pattern, re.Pattern):
                    patterns[f"{module.name}.{name}"] = unbounded_repeats(reader.parse(pattern.pattern, pattern.flags))
    assert len(patterns) > 8
    assert {name: repeats for name, repeats in patterns.items() if repeats} == {}
