"""One key of the KV store as a state machine. Every value written is unique, so a value names a version of the key.

Calls and their outcomes, the state being (value, holder), (None, "") while there is no such key:

    get()                      value and holder
    set(value)                 True; a holder keeps the lock
    cas(expected, value)       whether the value was `expected` (None: no such key) and is `value` now
    delete()                   True
    lock(session, value)       whether nobody else holds it; then the session holds it, with this value
    unlock(session, value)     whether the session held it; then nobody does, and the value is this one

Source: the KV operations of Consul's state store (facts on `KVS.Apply`)."""

from __future__ import annotations

from typing import Any, NamedTuple

from tests.linearizability.history import UNKNOWN, Call


class State(NamedTuple):
    value: str | None
    holder: str


ABSENT = State(None, "")


def apply(state: State, call: Call) -> tuple[Any, State]:
    """What the call gives in this state, and the state after it."""
    kind, arguments = call
    if kind == "get":
        return state, state
    if kind == "set":
        return True, State(arguments[0], state.holder)
    if kind == "delete":
        return True, ABSENT
    if kind == "cas":
        expected, value = arguments
        return (True, State(value, state.holder)) if state.value == expected else (False, state)
    session, value = arguments
    if kind == "lock":
        return (False, state) if state.holder not in ("", session) else (True, State(value, session))
    if kind == "unlock":
        return (True, State(value, "")) if state.holder == session else (False, state)
    raise ValueError(f"no such call: {kind}")


def step(state: State, call: Call, outcome: Any) -> State | None:
    """The state after a call with this outcome, None if it cannot have had it in this state."""
    gives, after = apply(state, call)
    return after if outcome is UNKNOWN or outcome == gives else None
