"""Table keys: never too long, and in the order of what they stand for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shared.state.keys import MAX_KV_BYTES, exact, fold, kv_key, pair
from shared.state.kvrow import entry_of, full_key, modify_index, row_of, row_session
from shared.structs.kv import DirEntry

LMDB_LIMIT = 511
parts = st.text(st.sampled_from("\0\1\2abz~é"), max_size=6)


@given(parts, parts)
def test_parts_keep_their_order(one: str, other: str) -> None:
    raw = one.encode(), other.encode()
    assert (exact(one) < exact(other)) == (raw[0] < raw[1])
    assert (exact(one) == exact(other)) == (one == other)


@given(parts, parts, parts, parts)
def test_pairs_do_not_run_into_each_other(a: str, b: str, c: str, d: str) -> None:
    assert (pair(a, b) == pair(c, d)) == ((a, b) == (c, d))
    assert pair(a, b).startswith(fold(a))


@given(st.text(min_size=100, max_size=300), st.text(min_size=100, max_size=300))
def test_long_parts_are_cut_but_stay_apart(one: str, other: str) -> None:
    assert len(pair(one, other) + fold(one)) <= LMDB_LIMIT
    assert (fold(one) == fold(other)) == (one.lower() == other.lower())


@given(st.binary(min_size=480, max_size=520), st.binary(min_size=480, max_size=520))
def test_long_kv_keys_are_cut_in_order(one: bytes, other: bytes) -> None:
    assert len(kv_key(one)) <= LMDB_LIMIT
    assert (kv_key(one) == kv_key(other)) == (one == other)
    if one[:MAX_KV_BYTES] != other[:MAX_KV_BYTES]:
        assert (kv_key(one) < kv_key(other)) == (one < other)


u64 = st.integers(0, 2**64 - 1)


@given(
    st.builds(
        DirEntry,
        u64,
        st.text(max_size=8) | st.text("k", min_size=490, max_size=510),
        u64,
        st.none() | st.binary(min_size=1, max_size=8),
        st.sampled_from(["", "11111111-0000-0000-0000-000000000000"]),
        u64,
        u64,
    )
)
def test_kv_rows_hold_every_field(entry: DirEntry) -> None:
    raw_key = entry.key.encode("utf-8", "surrogateescape")
    row = row_of(entry)
    assert entry_of(kv_key(raw_key), row) == entry
    assert full_key(kv_key(raw_key), row) == raw_key
    assert (modify_index(row), row_session(row)) == (entry.modify_index, entry.session.encode())
