"""Keys longer than a table key can be: kept apart, listed in the order of their bytes, found and deleted by prefix."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from shared.state.keys import MAX_KV_BYTES
from shared.state.queries import kv
from tests.unit.fsm.fsm_driver import driver

AT_THE_LIMIT = MAX_KV_BYTES - 2
stems = st.sampled_from(["s/" + "x" * AT_THE_LIMIT, "s/" + "x" * (AT_THE_LIMIT - 1), "t/" + "é" * (AT_THE_LIMIT // 2)])
tails = st.text(st.sampled_from("ab/é\udcff"), max_size=4)
keys = st.builds(str.__add__, stems, tails) | st.builds(str.__add__, st.sampled_from(["s/", "t/", "u"]), tails)
prefixes = keys | st.sampled_from(["", "s/", "s/x", "t/é"])


def raw(key: str) -> bytes:
    return key.encode("utf-8", "surrogateescape")


@given(names=st.sets(keys, min_size=1, max_size=12), prefix=prefixes, deleted=prefixes)
def test_long_keys_are_listed_and_deleted_as_short_ones(names: set[str], prefix: str, deleted: str) -> None:
    model: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as directory, driver(Path(directory)) as fsm:
        for name in names:
            fsm.kv("set", name, b"v")
            model[name] = fsm.index

        def under(wanted: str) -> list[str]:
            return sorted((name for name in model if name.startswith(wanted)), key=raw)

        listed = fsm.ask(lambda snap: kv.tree(snap, prefix))
        assert [entry.key for entry in listed.value] == under(prefix)
        assert fsm.ask(lambda snap: kv.keys(snap, prefix)).value == under(prefix)
        cut = {name[: name.find("/", len(prefix)) + 1] or name for name in under(prefix)}
        assert fsm.ask(lambda snap: kv.keys(snap, prefix, "/")).value == sorted(cut, key=raw)

        gone = under(deleted)
        fsm.kv("delete-tree", deleted)
        for name in gone:
            del model[name]
        if gone and deleted:  # the tombstone of the prefix answers for all that was below it
            assert fsm.ask(lambda snap: kv.tree(snap, deleted)).index == fsm.index
        assert [entry.key for entry in fsm.ask(lambda snap: kv.tree(snap, "")).value] == under("")
        for name in names:
            entry = fsm.ask(lambda snap, name=name: kv.get(snap, name)).value
            assert (entry.modify_index if entry else None) == model.get(name)
