"""Documents that a caller may not see: nothing about them gets out, whatever is asked, cached, withdrawn or broken."""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from adapters.errors import Ambiguous, NotFound, Unavailable
from gateway.cache import Limits as CacheLimits
from gateway.cache.memory import MemoryCache
from gateway.ids import ManifestIds, open_scheme
from gateway.protocol.interactions import Interaction
from gateway.routing import Location
from gateway.security import Identity
from gateway.security.door import Door
from gateway.security.policy import PERMIT, Access, Policy, Verdict, deny
from gateway.security.rules import Judgement, Rules
from gateway.settings.policy import DenyRule
from gateway.shared import Sharing
from tests.meta.doc_blocks import Page
from tests.support.gateway import PROJECT, serving
from tests.support.raw_http import Answer
from tests.support.refusal_times import measured
from tests.support.scripted import Script
from tests.support.service import MakeAdapter, MakeJudgement, Service, scripted, service

MANIFEST = """\
id,path,status,sensitivity,consent
open,open.pdf,,,given
secret,secret.pdf,,Restricted ,given
gone,gone.pdf,withdrawn,,given
secret-gone,secret-gone.pdf,withdrawn,restricted,given
no-consent,no-consent.pdf,,,
"""

FORMS: dict[str, tuple[str, str, dict[str, str]]] = {
    "read": ("GET", "", {}),
    "head": ("HEAD", "", {}),
    "json": ("GET", "?_format=json", {}),
    "xml": ("GET", "?_format=xml", {}),
    "range": ("GET", "", {"Range": "bytes=0-3"}),
    "range beyond": ("GET", "", {"Range": "bytes=9999-"}),
    "any tag": ("GET", "", {"If_None_Match": "*"}),
    "its tag": ("GET", "", {"If_None_Match": "ETAG"}),
    "if match": ("GET", "", {"If_Match": "ETAG"}),
    "since": ("GET", "", {"If_Modified_Since": "Fri, 01 Mar 2024 12:00:00 GMT"}),
    "vread": ("GET", "/_history/1", {}),
    "not acceptable": ("GET", "", {"Accept": "image/png"}),
}
"""Whatever may be asked about one document."""


class Said:
    """Believes what a caller says of itself; the real ways to prove it have tests of their own."""

    async def identify(self, request: web.BaseRequest, interaction: Interaction) -> Identity:
        who = request.headers.get("X-Who", "nobody")
        return Identity(who, who, frozenset({"system/*.read"}), method="bearer")


class Hook(Policy):
    """A trust's own policy, as a function."""

    def __init__(self, decision: Callable[[Access], Any]) -> None:
        super().__init__({})
        self.decision = decision
        self.asked: list[Access] = []

    async def decide(self, access: Access) -> Verdict:
        self.asked.append(access)
        found = self.decision(access)
        if isinstance(found, BaseException):
            raise found
        if found == "hang":
            await asyncio.sleep(60)
        return found  # type: ignore[no-any-return]


def judging(*rules: Mapping[str, Any], hook: Policy | None = None, floor: float | None = None) -> MakeJudgement:
    models = [DenyRule.model_validate(rule) for rule in rules]
    return lambda log: Judgement(Rules(models, ["letters"]), hook, timeout=0.3, floor=floor, log=log)


def scripts() -> dict[str, Script]:
    names = ("open", "secret", "gone", "secret-gone", "no-consent")
    return {f"{name}.pdf": Script([b"%PDF-1.7 " + name.encode()]) for name in names}


async def unasked(stem: str, suffixes: Any = None) -> str:
    """A manifest asks no archive."""
    raise AssertionError(stem)


@asynccontextmanager
async def archive(
    tmp_path: Path, judgement: MakeJudgement, made: dict[str, Script] | None = None, **more: Any
) -> AsyncIterator[Service]:
    """An archive behind a manifest whose callers are who they say."""
    file = tmp_path / "manifest.csv"
    await asyncio.to_thread(file.write_text, MANIFEST)
    settings = ManifestIds(scheme="manifest", file=file)
    async with open_scheme("letters", settings, prefix="", resolve=unasked, log=None) as scheme:
        adapter: MakeAdapter = scripted(made or scripts())
        door = Door(authentication=Said())
        async with service(
            {"letters": adapter}, schemes={"letters": scheme}, judgement=judgement, door=door, **more
        ) as at:
            yield at


def seen(answer: Answer) -> tuple[int, dict[str, str], bytes]:
    """Everything of an answer that may tell one document from another."""
    fields = {name: value for name, value in answer.fields if name not in ("Date", "X-Request-Id")}
    return answer.status, fields, answer.body


async def asked(at: Service, id: str, form: str, who: str = "viewer", etag: str = 'W/"1"') -> Answer:
    method, rest, headers = FORMS[form]
    given = {name: value.replace("ETAG", etag) for name, value in headers.items()}
    return await at.ask(f"/R4/Binary/{id}{rest}", method=method, X_Who=who, **given)


RESTRICTED = {"column": "sensitivity", "values": ["restricted"], "except_clients": ["psychiatry"]}


@pytest.mark.attack(
    "A document that a policy denies, read, by HEAD, as an envelope, by range, conditions and version",
    "answered like an unknown id",
)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("denied", ["secret", "secret-gone"])
async def test_a_denied_document_is_answered_like_one_that_does_not_exist(
    tmp_path: Path, denied: str, form: str
) -> None:
    async with archive(tmp_path, judging(RESTRICTED)) as at:
        unknown = seen(await asked(at, "unknown", form))
        assert unknown[0] == 404
        assert seen(await asked(at, denied, form)) == unknown
        allowed = await asked(at, "open", form)
        assert allowed.status != 404 or form == "vread"


async def test_who_may_see_it_gets_it_and_who_may_not_does_not_even_learn_that_it_was_withdrawn(tmp_path: Path) -> None:
    async with archive(tmp_path, judging(RESTRICTED)) as at:
        assert (await asked(at, "secret", "read", "psychiatry")).body == b"%PDF-1.7 secret"
        assert (await asked(at, "secret-gone", "read", "psychiatry")).status == 410
        assert (await asked(at, "secret-gone", "read")).status == 404
        assert (await asked(at, "gone", "read")).status == 410
        lines = await at.lines(4)
        assert [line.get("reason") for line in lines] == [None, None, "rule", None]


@pytest.mark.attack("The same with a warm cache and the right ETag", "answered like an unknown id")
@pytest.mark.parametrize("form", FORMS)
async def test_a_warm_cache_gives_a_denied_caller_nothing_and_does_not_show(tmp_path: Path, form: str) -> None:
    """The copy is there, and it is not looked at: not by a byte, a status, a tag or a header."""
    made = scripts()
    async with MemoryCache(CacheLimits(keep=100, max_document=1 << 20), max_bytes=1 << 20) as cache:
        more: dict[str, Any] = {"cache": cache, "sharing": Sharing(keeps=True, max_document=1 << 20)}
        async with archive(tmp_path, judging(RESTRICTED), made, **more) as at:
            cold = seen(await asked(at, "secret", form))
            assert made["secret.pdf"].opened == 0, "a denied read does not reach the archive"
            whole = await asked(at, "secret", "read", "psychiatry")
            assert whole.status == 200
            async with asyncio.timeout(5):
                while not cache.counts.stored:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            again = await asked(at, "secret", "read", "psychiatry")
            assert "hit" in (again.field("Cache-Status") or "")
            etag = again.field("ETag") or ""
            assert seen(await asked(at, "secret", form, etag=etag)) == cold
            assert seen(await asked(at, "unknown", form, etag=etag)) == cold
            assert made["secret.pdf"].opened == 1


async def test_a_source_can_be_for_some_clients_alone_and_is_not_even_asked_for_others(tmp_path: Path) -> None:
    rule = {"sources": ["letters"], "except_clients": ["pacs"]}
    broken = {"open.pdf": Script([], entering=[Unavailable("away")]), "secret.pdf": Script([b"secret"])}
    async with archive(tmp_path, judging(rule), broken) as at:
        unknown = seen(await asked(at, "unknown", "read"))
        assert {seen(await asked(at, id, "read"))[0] for id in ("open", "secret", "gone")} == {404}
        assert seen(await asked(at, "open", "read")) == unknown
        assert (await asked(at, "open", "read", "pacs")).status == 503
        assert (await asked(at, "secret", "read", "pacs")).body == b"secret"
        assert broken["secret.pdf"].opened == 1
        assert broken["open.pdf"].opened == 2, "what cannot be reached is tried once again, for who may ask"


class Asking:
    """Ids whose look-up asks the archive, and shows by its errors what is there."""

    def __init__(self) -> None:
        self.asked = 0

    async def locate(self, rest: str) -> Location:
        self.asked += 1
        raise {"twice": Ambiguous("two files"), "away": Unavailable("away")}.get(rest, NotFound("none"))


@pytest.mark.attack(
    "Ids of a source that is not for the client, also broken and doubtful ones", "all alike; nothing is looked up"
)
async def test_a_client_that_may_not_see_a_source_has_nothing_looked_up_there(tmp_path: Path) -> None:
    scheme, rule = Asking(), {"sources": ["letters"], "except_clients": ["pacs"]}
    made, door = {"letters": scripted({})}, Door(authentication=Said())
    async with service(made, schemes={"letters": scheme}, judgement=judging(rule), door=door) as at:
        answers = [seen(await asked(at, id, "read")) for id in ("twice", "away", "none", "..")]
        assert answers == [answers[0]] * 4
        assert (answers[0][0], scheme.asked) == (404, 0)
        assert [(await asked(at, id, "read", "pacs")).status for id in ("twice", "away", "none")] == [502, 503, 404]


async def test_a_rule_may_say_what_a_column_must_have(tmp_path: Path) -> None:
    async with archive(tmp_path, judging({"column": "Consent", "unless": ["GIVEN"]})) as at:
        assert (await asked(at, "open", "read")).status == 200
        assert (await asked(at, "no-consent", "read")).status == 404


FAILED, SILENT = "policy failed, the read was denied", "policy gave no verdict, the read was denied"


@pytest.mark.attack("A policy that fails, hangs or says nothing", "denied")
@pytest.mark.parametrize(
    ("decision", "reason", "event"),
    [
        (deny("embargo"), "embargo", None),
        (ValueError("patient 9434765919 not found"), "policy failed", FAILED),
        ("hang", "policy timeout", "policy took too long, the read was denied"),
        (None, "policy failed", SILENT),
        (True, "policy failed", SILENT),
        (Verdict("yes"), "policy failed", SILENT),  # type: ignore[arg-type]
        (deny("Smith, John 9434765919"), "policy", None),
    ],
    ids=repr,
)
async def test_whatever_a_policy_does_but_permit_is_a_denial(
    tmp_path: Path, decision: Any, reason: str, event: str | None
) -> None:
    async with archive(tmp_path, judging(hook=Hook(lambda access: decision))) as at:
        answer = await asked(at, "open", "read")
        assert seen(answer) == seen(await asked(at, "unknown", "read"))
        first, _ = await at.lines(2)
        assert first["reason"] == reason
        if event is not None:
            (line,) = await at.events(event)
            assert line["level"] == "error"
        assert "9434765919" not in at.log.getvalue()


async def test_a_permission_is_one(tmp_path: Path) -> None:
    async with archive(tmp_path, judging(hook=Hook(lambda access: PERMIT))) as at:
        assert (await asked(at, "open", "read")).body == b"%PDF-1.7 open"


async def test_a_policy_is_told_who_asks_for_what_and_shows_none_of_it(tmp_path: Path) -> None:
    hook = Hook(lambda access: PERMIT)
    async with archive(tmp_path, judging(hook=hook)) as at:
        await asked(at, "secret", "vread", "pacs")
        await asked(at, "gone", "read", "pacs")
        await asked(at, "unknown", "read", "pacs")
        first, second = hook.asked
        assert (first.identity.client, first.interaction, first.source, first.id) == (
            "pacs",
            "vread",
            "letters",
            "secret",
        )
        assert first.location.attributes == {"sensitivity": "Restricted ", "consent": "given"}
        assert (first.withdrawn, second.withdrawn) == (False, True)
        assert "secret" not in repr(first)


@pytest.mark.attack("The time that a refusal takes", "the same for a denied document as for an unknown id")
async def test_the_time_of_an_answer_does_not_tell_a_denied_document_from_one_that_does_not_exist(
    tmp_path: Path,
) -> None:
    """Both take the floor; without it one costs a look-up on a thread and the other none."""

    async def median(id: str) -> float:
        spent = []
        for _ in range(9):
            began = time.perf_counter()
            assert (await asked(at, id, "read")).status == 404
            spent.append(time.perf_counter() - began)
        return statistics.median(spent)

    async with archive(tmp_path, judging(RESTRICTED, floor=0.1)) as at:
        assert await median("secret") >= 0.1
        assert await median("unknown") >= 0.1
        began = time.perf_counter()
        assert (await asked(at, "open", "read")).status == 200
        assert time.perf_counter() - began < 0.1, "who may see it does not wait"


@pytest.mark.attack(
    "The times of many refusals compared by rank: manifest and template, cold and warm cache", "no better than a coin"
)
def test_times_of_many_refusals_do_not_tell_denied_from_unknown(tmp_path: Path) -> None:
    """Thousands of samples are for benchmarks/soak_refusal_times.py; a refusal that does not wait is found by these."""
    for one in measured(tmp_path, samples=40, floor="20ms"):
        assert one.denied >= 20, one
        assert one.unknown >= 20, one
        assert abs(one.deviation) < 4.5, one


# --- the service as it is configured ---------------------------------------------------------------------------------


def configuration(directory: Path, policy: dict[str, Any], manifest: str = MANIFEST) -> dict[str, Any]:
    root = directory / "archive"
    root.mkdir(exist_ok=True)
    for name in ("open", "secret", "no-consent"):
        (root / f"{name}.pdf").write_bytes(b"%PDF-1.7 " + name.encode())
    (directory / "index.csv").write_text(manifest)
    return {
        "server": {"port": 0},
        "admin": {"port": 0},
        "auth": {"mode": "none"},
        "policy": policy,
        "sources": {
            "letters": {
                "adapter": "filesystem",
                "ids": {"scheme": "manifest", "file": str(directory / "index.csv")},
                "options": {"root": str(root)},
            }
        },
    }


def check(directory: Path, policy: dict[str, Any], manifest: str = MANIFEST) -> subprocess.CompletedProcess[str]:
    path = directory / "gateway.yaml"
    path.write_text(yaml.safe_dump(configuration(directory, policy, manifest), sort_keys=False))
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "check", "--json", "--config", str(path)],
        cwd=PROJECT, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    return done


def test_rules_of_the_configuration_deny(tmp_path: Path) -> None:
    from urllib.error import HTTPError
    from urllib.request import urlopen

    policy = {"deny": [{"column": "sensitivity", "values": ["restricted"]}]}
    with serving(configuration(tmp_path, policy), tmp_path / "serving") as gateway:
        with urlopen(f"{gateway.url}/R4/Binary/open") as answer:
            assert answer.read() == b"%PDF-1.7 open"
        for id in ("secret", "secret-gone", "unknown"):
            with pytest.raises(HTTPError) as refused:
                urlopen(f"{gateway.url}/R4/Binary/{id}")
            with refused.value as error:
                assert error.code == 404


def test_the_policy_of_the_page_does_what_the_page_says(tmp_path: Path) -> None:
    """docs/policy.md, "A policy of your own": the class as it stands there, in a module beside the gateway."""
    from urllib.error import HTTPError
    from urllib.request import urlopen

    page = Page.of(PROJECT / "docs" / "policy.md", PROJECT)
    (tmp_path / "trust_policy.py").write_text(next(one.text for one in page.blocks if one.language == "python"))
    policy = yaml.safe_load(next(one.text for one in page.blocks if one.text.startswith("policy:")))["policy"]
    manifest = "id,path,embargo\nopen,open.pdf,2001-01-01\nsecret,secret.pdf,2999-01-01\nno-consent,no-consent.pdf,\n"
    environ = os.environ | {"PYTHONPATH": f"{PROJECT}:{tmp_path}"}
    settings = configuration(tmp_path, policy, manifest)
    with serving(settings, tmp_path / "serving", environ=environ) as gateway:
        for id in ("open", "no-consent"):
            with urlopen(f"{gateway.url}/R4/Binary/{id}") as answer:
                assert answer.read() == b"%PDF-1.7 " + id.encode()
        with pytest.raises(HTTPError) as refused:
            urlopen(f"{gateway.url}/R4/Binary/secret")
        with refused.value as error:
            assert error.code == 404
    lines = [line for line in gateway.lines() if line.get("event") == "request"]
    assert [line.get("reason") for line in lines] == [None, None, "embargo"]


@pytest.mark.attack("A manifest without the column that a rule decides by", "refused")
def test_a_manifest_without_the_column_that_a_rule_decides_by_is_refused(tmp_path: Path) -> None:
    """Otherwise a slip of the pen would show everything."""
    policy = {"deny": [{"column": "sensitivty", "values": ["restricted"]}]}
    done = check(tmp_path, policy)
    assert done.returncode == 2
    assert "there is no column `sensitivty`" in done.stdout


@pytest.mark.parametrize(
    ("policy", "key", "cause"),
    [
        ({"deny": [{}]}, "policy.deny[0]", "every document to everybody"),
        ({"deny": [{"column": "a"}]}, "policy.deny[0]", "decides by its values"),
        ({"deny": [{"values": ["a"]}]}, "policy.deny[0]", "decides by its values"),
        ({"deny": [{"column": "consent", "values": ["a"], "unless": ["b"]}]}, "policy.deny[0]", "both given"),
        ({"deny": [{"sources": ["leters"]}]}, "policy.deny[0].sources", "There is no source `leters`."),
        ({"hook": "nowhere.at.all:Policy"}, "policy.hook", "cannot be imported"),
        ({"hook": "gateway.security.policy:Nothing"}, "policy.hook", "nothing of this name"),
        ({"hook": "gateway.security.policy:Verdict"}, "policy.hook", "not a class below"),
        ({"hook": "gateway.security.policy:Policy"}, "policy.hook", "cannot be made"),
        ({"hook": "consent"}, "policy.hook", "No entry point"),
    ],
    ids=str,
)
def test_check_explains_a_policy_that_cannot_work(tmp_path: Path, policy: dict[str, Any], key: str, cause: str) -> None:
    done = check(tmp_path, policy)
    assert done.returncode == 2, done.stdout
    (problem,) = json.loads(done.stdout)["problems"]
    assert (problem["key"], cause in problem["cause"]) == (key, True), problem
