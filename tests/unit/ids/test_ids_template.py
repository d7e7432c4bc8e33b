"""The template scheme: what a pattern may be, where an id leads, and the way back."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from adapters.errors import Ambiguous, NotFound
from gateway.ids import Ids, TemplateIds, open_scheme
from gateway.ids.template import Template, TemplateScheme
from gateway.routing import valid_id


class Archive:
    """Names that exist; `resolve` as an adapter answers it."""

    def __init__(self, *names: str) -> None:
        self.names = names
        self.asked: list[tuple[str, tuple[str, ...] | None]] = []

    async def resolve(self, stem: str, suffixes: tuple[str, ...] | None) -> str:
        self.asked.append((stem, suffixes))
        fits = [name for name in self.names if name.startswith(stem)]
        if suffixes is None:
            fits = [name for name in fits if name[len(stem) :].startswith(".")]
        else:
            fits = [name for name in fits if name[len(stem) :] in suffixes]
        if len(fits) > 1:
            raise Ambiguous("two")
        if not fits:
            raise NotFound("none")
        return fits[0]


async def locate(pattern: str, rest: str, *names: str) -> str:
    location = await TemplateScheme("letters", pattern, Archive(*names).resolve).locate(rest)
    assert location.source == "letters"
    assert location.media_type is location.title is location.modified is location.patient is None
    assert location.attributes == {}
    return location.locator


@pytest.mark.parametrize(
    ("pattern", "rest", "locator"),
    [
        ("{id}", "a.pdf", "a.pdf"),
        ("{id}.pdf", "a", "a.pdf"),
        ("scans/{id}/page 1#.tif", "12", "scans/12/page 1#.tif"),
        ("100%/%s/{id}", "7", "100%/%s/7"),
        ("{id[0:2]}/{id[2:4]}/{id}.pdf", "abcdef", "ab/cd/abcdef.pdf"),
        ("{id[0:2]}/{id[2:]}.pdf", "abc", "ab/c.pdf"),
        ("{id[-2:]}/{id}", "abc", "bc/abc"),
        ("{id[:-2]}/{id[-2:]}", "abc", "a/bc"),
        ("{id[-4:-2]}/{id}", "abcd", "ab/abcd"),
        ("{id[:]}", "x", "x"),
        ("v{id[0:1]}.{id}", "..", None),
        ("{id[0:1]}{id[1:2]}/x", "ab", "ab/x"),
        ("Ärzte/{id}", "1", "Ärzte/1"),
    ],
)
async def test_a_pattern_gives_the_locator(pattern, rest, locator):
    if locator is None:
        with pytest.raises(NotFound):
            await locate(pattern, rest)
    else:
        assert await locate(pattern, rest) == locator


@pytest.mark.parametrize(
    ("pattern", "stem", "suffixes"),
    [
        ("{id}.*", "d/1".removeprefix("d/"), None),
        ("d/{id}.*", "d/1", None),
        ("{id}.{pdf,tif}", "1", (".pdf", ".tif")),
        ("{id}.{tar.gz,x-y,p7 m}", "1", (".tar.gz", ".x-y", ".p7 m")),
    ],
)
async def test_an_open_ending_asks_the_archive(pattern, stem, suffixes):
    archive = Archive(stem + (suffixes or (".rtf",))[-1])
    location = await TemplateScheme("s", pattern, archive.resolve).locate("1")
    assert location.locator == archive.names[0]
    assert archive.asked == [(stem, suffixes)]


async def test_the_archive_says_when_nothing_or_more_than_one_fits():
    with pytest.raises(NotFound):
        await locate("{id}.{pdf,tif}", "1", "1.txt", "1.pdf.x")
    with pytest.raises(Ambiguous):
        await locate("{id}.*", "1", "1.pdf", "1.tif")


@pytest.mark.requirement("FR-04")
@pytest.mark.parametrize(
    ("pattern", "rest"),
    [
        ("{id}", "."),
        ("{id}", ".."),
        ("{id}.*", ".."),
        ("a/{id}.pdf", ".."),
        ("{id[0:2]}/{id}", "..ab"),
        ("{id[0:1]}/{id}", ".ab"),
        ("{id}/{id[0:1]}{id[1:2]}", "..x"),
        ("{id[-2:]}/x.{a,b}", "ab.."),
        (".{id[0:1]}/x", ".a"),
    ],
)
async def test_dots_never_become_a_folder(pattern, rest):
    archive = Archive()
    with pytest.raises(NotFound):
        await TemplateScheme("s", pattern, archive.resolve).locate(rest)
    assert archive.asked == []


@pytest.mark.parametrize(
    ("pattern", "rest"),
    [
        ("{id[0:2]}/{id}", "a"),
        ("{id[2:4]}/{id}", "abc"),
        ("{id[2:]}/{id}", "ab"),
        ("{id[-3:]}/{id}", "ab"),
        ("{id[:-2]}/{id}", "ab"),
        ("{id[1:-1]}/{id}", "ab"),
    ],
)
async def test_an_id_too_short_for_a_part_is_not_found(pattern, rest):
    with pytest.raises(NotFound):
        await locate(pattern, rest)


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("", "no {id}"),
        ("all.pdf", "no {id}"),
        (".*", "no {id}"),
        ("/{id}", "begins with /"),
        ("../{id}", ". or .. as a folder"),
        ("a/./{id}", ". or .. as a folder"),
        ("a//{id}", "empty folder or file name"),
        ("{id}/", "empty folder or file name"),
        ("{id}/.*", "empty folder or file name"),
        ("a\\{id}", "Character 2 of the pattern is not allowed: write / between folders"),
        ("{id}\0", "Character 5 of the pattern is not allowed"),
        ("{id}\n", "Character 5 of the pattern is not allowed"),
        ("{id}*", "The * at character 5"),
        ("{id}.*.pdf", "The * at character 6"),
        ("*/{id}", "The * at character 1"),
        ("{id", "The brace at character 1 of the pattern has no partner"),
        ("id}", "The brace at character 3 of the pattern has no partner"),
        ("{{id}}", "The brace at character 1"),
        ("{name}.pdf", "The placeholder at character 1 of the pattern is not known"),
        ("{id.upper}", "The placeholder at character 1"),
        ("{id[0]}", "The placeholder at character 1"),
        ("{id[0:2:1]}", "The placeholder at character 1"),
        ("{id[٣:]}", "The placeholder at character 1"),
        ("{id}.{pdf}", "The placeholder at character 6"),
        ("{pdf,tif}/{id}", "The choice at character 1 of the pattern is not possible there"),
        ("{id}{pdf,tif}", "The choice at character 5"),
        ("{id}.{pdf,tif}.gz", "The choice at character 6"),
        ("{id}.{pdf,}", "The choice at character 6"),
        ("{id}.{pdf,a/b}", "The choice at character 6"),
        ("{id}.{pdf,pdf}", "repeats an ending"),
        ("{id}.{pdf, tif}", "has a space in it"),
        ("{id[2:2]}", "never has anything in it"),
        ("{id[0:0]}", "never has anything in it"),
        ("{id[3:1]}", "never has anything in it"),
        ("{id[-1:-3]}", "never has anything in it"),
        ("{id[0:65]}", "never has anything in it"),
        ("{id[-3:2]}", "count the same way"),
    ],
)
def test_a_pattern_that_cannot_work_is_explained(pattern, says):
    with pytest.raises(ValueError) as refused:
        Template.parse(pattern)
    assert says in str(refused.value)
    with pytest.raises(ValidationError) as invalid:
        TemplateIds(scheme="template", pattern=pattern)
    (error,) = invalid.value.errors()
    assert says in error["msg"]
    assert "{id[0:2]}/{id}.pdf" in error["ctx"]["cure"]


@pytest.mark.parametrize(
    ("pattern", "locator", "rest"),
    [
        ("{id}", "a.pdf", "a.pdf"),
        ("{id}.pdf", "a.pdf", "a"),
        ("{id}.pdf", "a.PDF", None),
        ("{id}.pdf", ".pdf", None),
        ("{id}.pdf", "a b.pdf", None),
        ("{id}.pdf", "x/a.pdf", None),
        ("{id}.pdf", "x" * 64 + ".pdf", "x" * 64),
        ("{id}.pdf", "x" * 65 + ".pdf", None),
        ("{id}.*", "a.pdf", "a"),
        ("{id}.*", "a.b.pdf", "a.b"),
        ("{id}.*", "a", None),
        ("{id}.*", "a.", None),
        ("{id}.{pdf,tif}", "a.b.tif", "a.b"),
        ("{id}.{pdf,tif}", "a.gif", None),
        ("{id[0:2]}/{id}.*", "ab/abc.pdf", "abc"),
        ("{id[0:2]}/{id}.*", "xy/abc.pdf", None),
        ("{id[0:2]}/{id[2:]}.*", "ab/c.pdf", "abc"),
        ("{id[-2:]}/{id[:-2]}", "bc/a", "abc"),
        ("{id[0:2]}/x", "ab/x", "ab"),
        ("{id[1:2]}/x", "a/x", None),
        ("{id}/{id}", "..", None),
        ("{id}", "..", None),
        ("{id}", "", None),
    ],
)
def test_the_way_back_from_a_locator(pattern, locator, rest):
    assert TemplateScheme("s", pattern, Archive().resolve).ids_for(locator) == rest


async def test_the_scheme_is_opened_from_its_settings():
    settings = TypeAdapter(Ids).validate_python({"scheme": "template", "pattern": "{id}.*"})
    archive = Archive("1.pdf")
    async with open_scheme("s", settings, prefix="", resolve=archive.resolve, log=None) as scheme:
        assert (await scheme.locate("1")).locator == "1.pdf"


rests = st.text(alphabet="ab.-Z9", min_size=1, max_size=12).filter(lambda rest: rest not in (".", ".."))
bounds = st.integers(-4, 4).map(str) | st.just("")
placeholders = st.just("{id}") | st.builds(lambda a, b: f"{{id[{a}:{b}]}}", bounds, bounds)
literals = st.text(alphabet="ab.%- é", min_size=1, max_size=3)
components = st.lists(placeholders | literals, min_size=1, max_size=3).map("".join)
patterns = st.builds(
    lambda parts, ending: "/".join(parts) + ending,
    st.lists(components, min_size=1, max_size=3),
    st.sampled_from(["", ".pdf", ".*", ".{pdf,tif}"]),
)


def parsed(pattern: str) -> Template:
    try:
        return Template.parse(pattern)
    except ValueError:
        assume(False)
        raise


@pytest.mark.requirement("FR-04")
@given(patterns, rests)
def test_no_id_makes_a_locator_that_could_leave_the_archive(pattern, rest):
    stem = parsed(pattern).stem(rest)
    if stem is not None:
        assert not {"", ".", ".."} & set(stem.split("/"))
        assert stem.count("/") == pattern.count("/")


@given(patterns, rests)
def test_a_stem_is_the_pattern_with_python_slices(pattern, rest):
    """Python's own formatting is the judge."""
    template = parsed(pattern)
    stem = template.stem(rest)
    if stem is None:
        return
    ending = {None: "", "any": ".*"}.get(template.ending, ".{pdf,tif}")
    text = pattern.removesuffix(ending)
    for piece in {part for part in text.replace("{", "\0{").replace("}", "}\0").split("\0") if part.startswith("{")}:
        text = text.replace(piece, str(eval(piece.strip("{}"), {"id": rest})))
    assert stem == text


@given(patterns, rests)
def test_the_way_back_leads_to_an_id_with_the_same_locator(pattern, rest):
    template = parsed(pattern)
    stem = template.stem(rest)
    assume(stem is not None)
    back = template.rest_for(stem + {None: "", "any": ".pdf"}.get(template.ending, ".tif"))
    if back is None:
        # Only where the pattern does not spell the whole id.
        assert "{id}" not in pattern
        return
    assert valid_id(back)
    if template.ending is None:
        assert template.stem(back) == stem
    else:
        assert (stem + ".pdf").startswith(template.stem(back))


@given(st.text(max_size=30) | patterns)
def test_reading_a_pattern_ends_in_a_template_or_a_sentence(pattern):
    sentence = ""
    try:
        rest = Template.parse(pattern).rest_for("ab/ab.pdf")
        assert rest is None or valid_id(rest)
    except ValueError as error:
        sentence = str(error)
    assert not sentence or (sentence[0].isupper() and sentence.endswith("."))
