"""The two promises made to readers, under any sequence of commands:

unchanged versions mean an unchanged answer, index included (response caches live on it);
an answer with a new value was announced by a topic of its watch (blocking queries live on it)."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from shared.state.watch import WatchHub
from tests.unit.fsm.fsm_commands import QUERIES, Command, commands
from tests.unit.fsm.fsm_driver import driver


@given(script=st.lists(commands, max_size=14))
def test_versions_and_topics_tell_of_every_change(script: list[Command]) -> None:
    _run_and_watch(script)


def test_a_check_that_leaves_a_service_is_told_to_those_who_see_it_there() -> None:
    """It keeps the name its service had when it was written, and is shown under the present one."""
    renamed: list[Command] = [
        lambda fsm: fsm.register_service("n1", "db", "s1"),
        lambda fsm: fsm.register_check("n1", "c1", service_id="s1"),
        lambda fsm: fsm.register_service("n1", "web", "s1"),
    ]
    _run_and_watch([*renamed, lambda fsm: fsm.deregister("n1", check_id="c1")])
    moved: list[Command] = [
        lambda fsm: fsm.register_service("n1", "Web", "s2"),
        lambda fsm: fsm.register_check("n1", "c1", service_id="s2"),
        lambda fsm: fsm.register_check("n1", "c1"),
        lambda fsm: fsm.register_check("n1", "c1", service_id="s2"),
        lambda fsm: fsm.deregister("n1", service_id="s2"),
    ]
    _run_and_watch([*renamed, *moved])


def _run_and_watch(script: list[Command]) -> None:
    with tempfile.TemporaryDirectory() as directory, driver(Path(directory)) as fsm:
        fsm.register("n1")
        for run in script:
            with fsm.store.snapshot() as snap:
                before = [(answer, snap.versions(answer.watch)) for answer in (query(snap) for query in QUERIES)]
            hub, woken = WatchHub(), set()
            for at, (answer, _versions) in enumerate(before):
                hub.register(answer.watch, lambda at=at, woken=woken: woken.add(at))
            run(fsm)
            hub.notify(fsm.topics)
            with fsm.store.snapshot() as snap:
                for at, query in enumerate(QUERIES):
                    old, versions = before[at]
                    new = query(snap)
                    if snap.versions(old.watch) == versions:
                        assert new == old, f"query {at}: an answer changed under unchanged versions"
                    if new.value != old.value:
                        assert at in woken, f"query {at}: a new answer was not announced: {fsm.topics}"
