"""Prepared queries in the FSM: names, templates, sessions, and which query a name leads to."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.raft_node.fsm.errors import CommandError
from shared.state.errors import StateLookupError
from shared.state.queries import prepared_query as queries
from shared.structs import wire
from shared.structs.prepared_query import (
    PreparedQuery,
    PreparedQueryRequest,
    QueryTemplateOptions,
    ServiceQuery,
)
from tests.unit.fsm.fsm_commands import Q1, Q2, prepared_query
from tests.unit.fsm.fsm_driver import S1, Driver, driver
from tests.unit.fsm.test_fsm_machine import captured

PREFIX = "name_prefix_match"


def names(fsm: Driver) -> list[str]:
    return [query.name for query in fsm.ask(queries.queries).value]


def refusal(result: Any) -> str:
    assert isinstance(result, CommandError)
    return str(result)


def leads_to(fsm: Driver, name: str) -> str | None:
    with fsm.store.snapshot() as snap:
        found = queries.lookup(snap, name)
    return None if found is None else found.name


def test_a_query_of_the_real_consul_is_kept_as_it_is(fsm: Driver) -> None:
    data = captured("PreparedQuery/create")
    assert fsm.command(data[0], data[1:]) is None
    sent = PreparedQueryRequest.from_wire(wire.unpack(data[1:])).query
    assert sent is not None
    (kept,) = fsm.ask(queries.queries).value
    assert kept == sent.replace(create_index=fsm.index, modify_index=fsm.index)
    assert fsm.row("prepared-queries") == fsm.index
    assert fsm.topics == [["prepared-query", kept.id]]


def test_names_are_unique_in_any_case_and_never_the_id_of_another(fsm: Driver) -> None:
    assert prepared_query("create", Q1, "q")(fsm) is None
    created = fsm.index
    assert refusal(prepared_query("create", Q2, "Q")(fsm)) == "name 'Q' aliases an existing query name"
    assert refusal(prepared_query("create", Q2, Q1)(fsm)) == f"name '{Q1}' aliases an existing query ID"
    assert fsm.row("prepared-queries") == created
    assert prepared_query("update", Q1, "Renamed")(fsm) is None
    (kept,) = fsm.ask(queries.queries).value
    assert (kept.create_index, kept.modify_index) == (created, fsm.index)
    assert prepared_query("create", Q2, "q")(fsm) is None
    assert leads_to(fsm, "RENAMED") == "Renamed"


def test_there_is_one_template_for_everything(fsm: Driver) -> None:
    assert prepared_query("create", Q1, "", template=PREFIX)(fsm) is None
    again = prepared_query("create", Q2, "", template=PREFIX)(fsm)
    assert refusal(again) == "a query template with an empty name already exists"
    assert prepared_query("update", Q1, "", template=PREFIX)(fsm) is None


@pytest.mark.parametrize(
    ("query_id", "session", "template", "text"),
    [
        ("", "", "", "Missing Query ID"),
        ("odd", "", "", "failed prepared query lookup: index error: UUID must be 36 characters"),
        (Q1, "odd", "", "invalid session: index error: UUID must be 36 characters"),
        (Q1, S1, "", f'invalid session "{S1}"'),
        (Q1, "", "odd", "failed compiling template: Bad Template.Type 'odd'"),
    ],
)
def test_queries_that_cannot_be_stored(fsm: Driver, query_id: str, session: str, template: str, text: str) -> None:
    before = fsm.dump()
    assert refusal(prepared_query("create", query_id, "q", session, template)(fsm)) == text
    assert fsm.dump() == before


def test_deleting_takes_an_id(fsm: Driver) -> None:
    assert refusal(prepared_query("delete", "odd")(fsm)).startswith("failed prepared query delete: failed prepared ")
    assert prepared_query("delete", Q1)(fsm) is None  # nothing was there
    assert fsm.row("prepared-queries") is None


def test_queries_go_with_their_session(fsm: Driver) -> None:
    fsm.register("n")
    fsm.session(S1, "n")
    prepared_query("create", Q1, "bound", S1)(fsm)
    prepared_query("create", Q2, "free", S1)(fsm)
    prepared_query("update", Q2, "free")(fsm)
    fsm.destroy(S1)
    assert names(fsm) == ["free"]
    assert fsm.row("prepared-queries") == fsm.index
    assert ["prepared-query", Q1] in fsm.topics
    with fsm.store.snapshot() as snap:
        assert snap.count(snap.tables.prepared_queries_by_session) == 0


def test_id_then_name_then_the_longest_template(fsm: Driver) -> None:
    prepared_query("create", Q1, "geo-", template=PREFIX)(fsm)
    prepared_query("create", Q2, "geo-static")(fsm)
    assert leads_to(fsm, "GEO-static") == "geo-static"
    assert leads_to(fsm, "geo-static2") == leads_to(fsm, "geo-") == "geo-"
    assert leads_to(fsm, Q2) == "geo-static"
    assert leads_to(fsm, "geo") is None
    with pytest.raises(StateLookupError, match="only be resolved up by name, not by ID"):
        leads_to(fsm, Q1)


_names = st.text("aA-", max_size=4) | st.text("a", min_size=398, max_size=404)


@given(st.lists(_names, max_size=6, unique_by=str.lower), _names)
def test_the_longest_prefix_wins_however_long(templates: list[str], asked: str) -> None:
    with tempfile.TemporaryDirectory() as directory, driver(Path(directory)) as fsm:
        for number, name in enumerate(templates):
            query = PreparedQuery(
                id=f"abcdabcd-0000-0000-0000-{number:012}",
                name=name,
                template=QueryTemplateOptions(type=PREFIX),
                service=ServiceQuery(service="x"),
            )
            assert fsm.command(7, PreparedQueryRequest("dc1", "create", query)) is None
        fitting = [name for name in templates if asked.lower().startswith(name.lower())]
        with fsm.store.snapshot() as snap:
            found = queries.longest_template(snap, asked)
        assert (found.name if found is not None else None) == max(fitting, key=len, default=None)
