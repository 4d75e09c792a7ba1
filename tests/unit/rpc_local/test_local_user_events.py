"""User events: the envelope inside Serf's events, for whom one is meant, and the list that readers wait on."""

from __future__ import annotations

import contextlib
import json
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.rpc_core.local import user_event
from services.rpc_core.local.events import KEPT, REMOTE_EXEC, Events
from services.rpc_core.local.user_event import EventError, UserEvent

ID = "11111111-2222-3333-4444-555555555555"
VECTORS = Path(__file__).parents[2] / "vectors" / "gossip" / "consul_plain_udp.json"


def captured(name: str) -> bytes:
    """The envelope of an event that a real agent has sent."""
    (packet,) = (each for each in json.loads(VECTORS.read_text())["vectors"] if each["id"] == "udp-15")
    parts = packet["decoded"]["message"]["inner"]["inner"]["parts"]
    bodies = [part["serf"]["body"] for part in parts]
    (payload,) = (body["Payload"]["raw"] for body in bodies if body["Name"] == f"consul:event:{name}")
    return bytes.fromhex(payload)


@pytest.mark.parametrize(
    ("name", "event"),
    [
        ("deploy", UserEvent("e251c91f-95e2-b2a0-f145-66d36ebb0f7f", "deploy", b"hello payload", "^c", ltime=7)),
        ("evt2", UserEvent("8d2d3c6c-f1d9-4f98-451d-08cc2ddee811", "evt2", ltime=7)),
    ],
)
def test_an_event_of_the_real_consul_is_understood_and_written_alike(name: str, event: UserEvent) -> None:
    assert user_event.decode(captured(name), 7) == event
    assert user_event.encode(event) == captured(name)


texts = st.text(max_size=20)


@given(
    st.builds(
        UserEvent,
        st.uuids().map(str),
        texts,
        st.binary(min_size=1, max_size=50) | st.none(),
        texts,
        texts,
        texts,
        ltime=st.integers(0, 1 << 60),
    )
)
def test_what_was_encoded_is_decoded(event: UserEvent) -> None:
    assert user_event.decode(user_event.encode(event), event.ltime) == event


@given(st.binary(max_size=60))
def test_junk_is_refused_and_nothing_else_happens(data: bytes) -> None:
    with contextlib.suppress(EventError):
        user_event.decode(data, 1)


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (UserEvent("", ""), "User event missing name"),
        (UserEvent("", "x", None, "", "", "a"), "Cannot provide tag filter without service filter"),
        (UserEvent("", "x", None, "("), "Invalid node filter: error parsing regexp: missing closing ): `(`"),
        (UserEvent("", "x", None, "", "["), "Invalid service filter: error parsing regexp: missing closing ]: `[`"),
    ],
)
def test_what_consul_would_not_fire_is_refused(event: UserEvent, text: str) -> None:
    with pytest.raises(EventError) as caught:
        user_event.check(event)
    assert str(caught.value) == text


SERVICES = {"web-1": ["v1", "eu"], "db": []}


@pytest.mark.parametrize(
    ("node", "service", "tag", "meant"),
    [
        ("", "", "", True),
        ("^node", "", "", True),
        ("^other", "", "", False),
        ("", "^web", "", True),
        ("", "^cache", "", False),
        ("", "^web", "^v1$", True),
        ("", "^web", "^v2$", False),
        ("", "^db$", "v", False),
        ("^other", "^web", "v1", False),
    ],
)
def test_filters_look_at_the_node_its_services_and_their_tags(node: str, service: str, tag: str, meant: bool) -> None:
    assert user_event.is_meant(UserEvent(ID, "x", None, node, service, tag), "node1", lambda: SERVICES) is meant


class Server:
    def fast(self, name: str, handler: Any) -> None:
        setattr(self, name.partition(".")[2], handler)

    slow = fast


class Request:
    """A call that may be parked."""

    def __init__(self, name: str = "", index: int = 0, deadline: float = 1e18) -> None:
        self.payload, self.deadline = {"name": name, "index": index}, deadline
        self.answers: list[Any] = []
        self.forget: Any = None

    def reply(self, value: Any) -> None:
        self.answers.append(value)

    def park(self, on_cancel: Any) -> None:
        self.forget = on_cancel

    def unpark(self) -> None:
        self.forget = None


@pytest.fixture
def events() -> Events:
    config = SimpleNamespace(node_name="node1", disable_remote_exec=True)

    async def call(method: str, body: Any) -> Any:
        raise AssertionError(method)

    made = Events(SimpleNamespace(config=config, rng=random.Random(1)), call)  # type: ignore[arg-type]
    made.server = Server()  # type: ignore[attr-defined]
    made.serve(made.server)  # type: ignore[attr-defined]
    return made


def arrive(events: Events, name: str, ltime: int = 1, **more: Any) -> UserEvent:
    event = UserEvent(user_event.new_id(random.Random(f"{name}{ltime}")), name, **more)
    events.received({"name": f"consul:event:{name}", "payload": user_event.encode(event), "ltime": ltime})
    return event


def ask(events: Events, name: str = "", index: int = 0) -> Request:
    request = Request(name, index)
    events.server.EventList(request)  # type: ignore[attr-defined]
    return request


def test_the_list_keeps_the_last_256_in_their_order(events: Events) -> None:
    fired = [arrive(events, f"e{number % 3}", number) for number in range(KEPT + 10)]
    assert [event.id for event in events.recent()] == [event.id for event in fired[10:]]
    assert {event.name for event in events.recent("e1")} == {"e1"}
    (answer,) = ask(events).answers
    assert (len(answer["events"]), answer["index"]) == (KEPT, fired[-1].index)


def test_an_empty_list_has_index_1(events: Events) -> None:
    assert ask(events).answers == [{"index": 1, "events": []}]
    assert ask(events, "none", 1).answers == []


def test_who_waits_hears_of_the_next_event_and_of_no_other_name(events: Events) -> None:
    first = arrive(events, "a")
    waits, waits_for_b, is_behind = ask(events, "", first.index), ask(events, "b", 1), ask(events, "", 5)
    assert (waits.answers, waits_for_b.answers, len(is_behind.answers)) == ([], [], 1)
    second = arrive(events, "c", 2)
    assert [each["index"] for each in waits.answers] == [second.index]
    assert waits_for_b.answers == []
    third = arrive(events, "b", 3)
    assert [event["Name"] for event in waits_for_b.answers[0]["events"]] == ["b"]
    assert waits_for_b.answers[0]["index"] == third.index
    assert len(waits.answers) == 1


def test_who_gives_up_is_forgotten(events: Events) -> None:
    waits = ask(events, "", 1)
    waits.forget()
    arrive(events, "a")
    assert waits.answers == []


def test_an_event_that_is_not_meant_for_this_node_is_not_listed(events: Events) -> None:
    arrive(events, "a", node_filter="^other$")
    arrive(events, "b", service_filter="[")
    assert events.recent() == []


def test_remote_exec_is_acted_on_if_it_is_wanted_and_never_listed(events: Events) -> None:
    seen: list[str] = []
    events.on_event(lambda event: seen.append(event.name))
    arrive(events, REMOTE_EXEC)
    arrive(events, "plain")
    assert seen == ["plain"]
    events._core.config.disable_remote_exec = False
    arrive(events, REMOTE_EXEC, 3)
    assert seen == ["plain", REMOTE_EXEC]
    assert [event.name for event in events.recent()] == ["plain"]


def test_what_gossip_remembers_is_listed_again_and_nothing_more(events: Events) -> None:
    """This process was started anew: the events are not new, and remote execution must not happen twice."""
    seen: list[str] = []
    events.on_event(lambda event: seen.append(event.name))
    events._core.config.disable_remote_exec = False
    past = [UserEvent(user_event.new_id(random.Random(n)), f"e{n}") for n in range(3)]
    others = [UserEvent(ID, REMOTE_EXEC), UserEvent(ID, "not-here", node_filter="^other$")]
    records = [
        {"name": f"consul:event:{event.name}", "payload": user_event.encode(event), "ltime": n}
        for n, event in enumerate([*past, *others])
    ]
    records.append({"name": "consul:new-leader", "payload": b"n", "ltime": 9})
    records.append({"name": "consul:event:broken", "payload": b"", "ltime": 9})
    waits = ask(events, "", 1)
    came = arrive(events, "meanwhile", 20)
    events._remember(records)
    assert [event.id for event in events.recent()] == [*(event.id for event in past), came.id]
    assert [event.ltime for event in events.recent()] == [0, 1, 2, 20]
    assert len(waits.answers) == 1
    assert seen == ["meanwhile"]
