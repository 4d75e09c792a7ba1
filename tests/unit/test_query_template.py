"""Templates of prepared queries: every text of the service part, filled in for the name that was asked for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.query_template import TemplateError, compile_template
from shared.structs.prepared_query import (
    NAME_PREFIX_MATCH,
    PreparedQuery,
    QueryDatacenterOptions,
    QueryTemplateOptions,
    ServiceQuery,
)


def template(service: ServiceQuery, regexp: str = "", remove: bool = False, name: str = "geo-") -> PreparedQuery:
    options = QueryTemplateOptions(NAME_PREFIX_MATCH, regexp, remove)
    return PreparedQuery(id="id", name=name, token="t", template=options, service=service)


def test_every_text_is_filled_in() -> None:
    query = template(
        ServiceQuery(
            service="${match(1)}",
            failover=QueryDatacenterOptions(2, ["${match(2)}", "dc1"]),
            ignore_check_ids=["${match(0)}"],
            near="${name.prefix}",
            tags=["${name.suffix}", "!${match(9)}"],
            node_meta={"segment": "${agent.segment}", "${match(1)}": "key"},
            service_meta={"full": "${name.full}"},
        ),
        "^geo-(.*?)-([^-]+?)$",
    )
    made = compile_template(query).render("geo-db-x-dc2", segment="alpha")
    assert made.service == ServiceQuery(
        service="db-x",
        failover=QueryDatacenterOptions(2, ["dc2", "dc1"]),
        ignore_check_ids=["geo-db-x-dc2"],
        near="geo-",
        tags=["db-x-dc2", "!"],
        node_meta={"segment": "alpha", "${match(1)}": "key"},
        service_meta={"full": "geo-db-x-dc2"},
    )
    assert made.replace(service=query.service) == query
    assert query.service.service == "${match(1)}"  # the definition stays as it is


def test_a_name_that_does_not_match_leaves_groups_empty() -> None:
    compiled = compile_template(template(ServiceQuery(service="x${match(1)}${match(0)}"), "^geo-(a+)$"))
    assert compiled.render("geo-b").service.service == "x"
    assert compiled.render("geo-aa").service.service == "xaageo-aa"


@pytest.mark.parametrize(("remove", "tags"), [(True, ["a"]), (False, ["", "a", ""])])
def test_empty_tags_can_be_removed(remove: bool, tags: list[str]) -> None:
    query = template(ServiceQuery(service="x", tags=["${match(1)}", "a", ""]), remove=remove)
    assert compile_template(query).render("geo-").service.tags == tags


def test_without_tags_there_are_none_left_to_remove() -> None:
    assert compile_template(template(ServiceQuery(service="x"), remove=True)).render("g").service.tags == []


def test_the_prefix_is_taken_off_in_its_own_spelling_only() -> None:
    compiled = compile_template(template(ServiceQuery(service="${name.suffix}")))
    assert compiled.render("geo-x").service.service == "x"
    assert compiled.render("GEO-x").service.service == "GEO-x"


@pytest.mark.parametrize(
    ("service", "regexp", "text"),
    [
        (ServiceQuery(service="${"), "", "Bad format '${' in Service.Service: parse error: syntax error"),
        (ServiceQuery(tags=["a", "${"]), "", "Bad format '${' in Service.Tags[1]: parse error: syntax error"),
        (ServiceQuery(service="x"), "(", "Bad Regexp: error parsing regexp: missing closing ): `(`"),
        (
            ServiceQuery(node_meta={"k": "${x}"}),
            "",
            "Bad evaluation for '${x}' in Service.NodeMeta[k]: 1:3: unknown variable accessed: x",
        ),
    ],
)
def test_what_does_not_compile(service: ServiceQuery, regexp: str, text: str) -> None:
    with pytest.raises(TemplateError) as caught:
        compile_template(template(service, regexp))
    assert str(caught.value) == text


_names = st.text("abc-$\\^", max_size=12)


@given(_names, _names, _names)
def test_texts_without_interpolation_stay_as_they_are(service: str, tag: str, asked: str) -> None:
    def escaped(text: str) -> str:
        return text.replace("$", "$$")

    query = template(ServiceQuery(service=escaped(service), tags=[escaped(tag)]))
    made = compile_template(query).render(asked)
    assert (made.service.service, made.service.tags) == (service, [tag])


@given(prefix=_names, suffix=_names)
def test_a_name_is_its_prefix_and_its_suffix(prefix: str, suffix: str) -> None:
    query = template(ServiceQuery(service="${name.prefix}${name.suffix}", near="${name.full}"), name=prefix)
    made = compile_template(query).render(prefix + suffix)
    assert made.service.service == made.service.near == prefix + suffix


@given(st.lists(st.text("ab", min_size=1, max_size=3), min_size=1, max_size=4))
def test_groups_are_what_the_pattern_says(parts: list[str]) -> None:
    pattern = "^geo-" + "-".join(["([ab]+)"] * len(parts)) + "$"
    texts = "".join(f"<${{match({number})}}>" for number in range(1, len(parts) + 1))
    made = compile_template(template(ServiceQuery(service=texts), pattern)).render("geo-" + "-".join(parts))
    assert made.service.service == "".join(f"<{part}>" for part in parts)


def test_a_name_that_would_be_matched_for_minutes_is_refused() -> None:
    compiled = compile_template(template(ServiceQuery(service="${match(1)}"), "(a{999}|b{999})"))
    with pytest.raises(TemplateError, match="text too long"):
        compiled.render("geo-" + "a" * 100_000)
