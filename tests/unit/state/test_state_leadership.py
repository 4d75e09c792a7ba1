"""The leadership page: what is read is one of the states that were written, never a mixture."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.state import leadership
from shared.state.leadership import CANDIDATE, FOLLOWER, LEADER, NOBODY, Leadership, LeadershipPage

LEADS = Leadership(LEADER, 3, "id-1", "127.0.0.1:8300", 50, 40, 12, 11, True)


def test_before_it_exists_there_is_nobody(tmp_path: Path) -> None:
    page = LeadershipPage.open(str(tmp_path / "state" / "leader.page"))
    assert page.read() is NOBODY
    writer = LeadershipPage.create(str(tmp_path / "state" / "leader.page"))
    assert page.read() is NOBODY
    writer.write(LEADS)
    assert page.read() == LEADS
    assert page.read() is page.read()


u64 = st.integers(0, 2**64 - 1)


@given(
    st.lists(
        st.builds(
            Leadership,
            st.sampled_from([LEADER, FOLLOWER, CANDIDATE]),
            u64,
            st.text(max_size=20),
            st.text(max_size=20),
            u64,
            u64,
            u64,
            u64,
            st.booleans(),
            st.integers(0, 255),
            st.text(max_size=20),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, states: list[Leadership]) -> None:
    path = str(tmp_path_factory.mktemp("page") / "leader.page")
    writer, reader = LeadershipPage.create(path), LeadershipPage.open(path)
    for state in states:
        writer.write(state)
        assert reader.read() == state
    restarted = LeadershipPage.create(path)
    restarted.write(LEADS)
    assert reader.read() == LEADS


def test_a_lease_decides_about_default_reads() -> None:
    assert LEADS.may_serve_default(now_ns=49)
    assert not LEADS.may_serve_default(now_ns=50)
    assert not LEADS._replace(role=FOLLOWER).may_serve_default(now_ns=0)
    assert LEADS.known_leader
    assert not NOBODY.known_leader


def test_oversized_names_are_refused(tmp_path: Path) -> None:
    writer = LeadershipPage.create(str(tmp_path / "leader.page"))
    with pytest.raises(ValueError, match="1024"):
        writer.write(LEADS._replace(leader_id="x" * 1025))


def test_a_list_of_peers_that_is_too_long_is_left_out(tmp_path: Path) -> None:
    writer = LeadershipPage.create(str(tmp_path / "leader.page"))
    peers = " ".join(f"id-{number} 127.0.0.{number}:8300" for number in range(10))
    writer.write(LEADS._replace(confirmations=5, peers=peers))
    assert writer.read().peer_addresses()["id-7"] == "127.0.0.7:8300"
    writer.write(LEADS._replace(confirmations=5, peers=peers * 10))
    assert (writer.read().confirmations, writer.read().peer_addresses()) == (0, {})


def test_a_commit_index_is_published_alone(tmp_path: Path) -> None:
    path = tmp_path / "leader.page"
    reader = LeadershipPage.open(str(path))
    assert reader.committed() == 0
    writer = LeadershipPage.create(str(path))
    long = LEADS._replace(leader_id="i" * 1024, leader_address="a" * 1024, peers="p" * 1024)
    for index in (7, 2**64 - 1, 9):
        writer.write_committed(index)
        for _ in range(2):  # in both slots
            writer.write(long)
        assert (reader.committed(), reader.read()) == (index, long)


def test_what_an_earlier_version_has_written_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "leader.page")
    with monkeypatch.context() as earlier:
        earlier.setattr(leadership, "_LAYOUT", 1)
        LeadershipPage.create(path).write(LEADS)
    assert LeadershipPage.open(path).read() is NOBODY


def tear(path: Path, slot: int) -> None:
    with path.open("r+b") as file:
        file.seek(slot * 4096 + 20)
        file.write(b"\xff\xff")


def test_a_torn_write_hides_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "leader.page"
    writer = LeadershipPage.create(str(path))
    newer = LEADS._replace(term=4)
    writer.write(LEADS)
    first = writer._next_slot
    writer.write(newer)
    assert LeadershipPage.open(str(path)).read() == newer
    tear(path, first)
    assert LeadershipPage.open(str(path)).read() == LEADS
    restarted = LeadershipPage.create(str(path))
    restarted.write(newer)
    assert LeadershipPage.open(str(path)).read() == newer
    tear(path, 0)
    tear(path, 1)
    assert LeadershipPage.open(str(path)).read() is NOBODY


WRITER = """
import sys
from shared.state.leadership import LEADER, Leadership, LeadershipPage
page = LeadershipPage.create(sys.argv[1])
n = 0
while True:
    n += 1
    page.write(Leadership(LEADER, n, "i" * (n % 40), "a" * (n % 70), n, n, n, n, bool(n % 2)))
    if n == 1:
        print("up", flush=True)
"""


def test_a_busy_writer_in_another_process_never_shows_half_a_state(tmp_path: Path) -> None:
    path = str(tmp_path / "leader.page")
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WRITER), path], stdout=subprocess.PIPE, text=True
    ) as writer:
        try:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "up\n"
            page = LeadershipPage.open(path)
            terms: set[int] = set()
            latest = 0
            deadline = time.monotonic() + 120  # on one processor both have their turns one after the other
            while len(terms) < 300:
                assert time.monotonic() < deadline
                state = page.read()
                n = state.term
                assert n >= latest
                latest = n
                terms.add(n)
                assert state == Leadership(LEADER, n, "i" * (n % 40), "a" * (n % 70), n, n, n, n, bool(n % 2))
        finally:
            writer.kill()
