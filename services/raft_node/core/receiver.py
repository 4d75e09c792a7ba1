"""The receiving side of the RPCs: the rules of hashicorp/raft 1.1.2 (Raft paper, figure 2), in its order.

Functions work on the core (`services.raft_node.core.node.RaftCore`), which owns the state and the role."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from services.raft_node.core import codec
from services.raft_node.core.configuration import ConfigurationError, check
from services.raft_node.core.events import (
    Answer,
    AppendLog,
    ReceiveSnapshot,
    ResetLog,
    RestoreSnapshot,
    SnapshotReceived,
    StartOver,
)
from services.raft_node.core.messages import (
    PROTOCOL_VERSION,
    PROTOCOL_VERSION_MIN,
    SNAPSHOT_VERSION,
    UNSUPPORTED_PROTOCOL,
    AppendEntries,
    AppendEntriesReply,
    InstallSnapshot,
    InstallSnapshotReply,
    PreVote,
    PreVoteReply,
    Request,
    RequestVote,
    RequestVoteReply,
    TimeoutNow,
    TimeoutNowReply,
)
from services.raft_node.core.types import (
    ADD_PEER,
    CONFIGURATION,
    FOLLOWER,
    LEADER,
    REMOVE_PEER,
    Configuration,
    Entry,
    HardState,
)

if TYPE_CHECKING:
    from services.raft_node.core.node import RaftCore


def receive(core: RaftCore, token: Any, request: Request, now: float) -> None:
    """Answers `request`, or (InstallSnapshot) asks for its body first."""
    if not PROTOCOL_VERSION_MIN <= request.protocol_version <= PROTOCOL_VERSION:
        core.state.emit(Answer(token, None, UNSUPPORTED_PROTOCOL))
    elif isinstance(request, AppendEntries):
        _append_entries(core, token, request, now)
    elif isinstance(request, RequestVote):
        _request_vote(core, token, request, now)
    elif isinstance(request, PreVote):
        granted = _would_vote(core, request, now)
        core.state.emit(Answer(token, PreVoteReply(core.state.term, granted)))
    elif isinstance(request, InstallSnapshot):
        _install_snapshot(core, token, request, now)
    else:
        assert isinstance(request, TimeoutNow)
        core.state.emit(Answer(token, TimeoutNowReply()))
        _timeout_now(core, request, now)


def _timeout_now(core: RaftCore, request: TimeoutNow, now: float) -> None:
    """The leader hands over. Not if that was in a term that is over, and not to a server that could not lead."""
    state = core.state
    may_lead = state.configurations.latest.has_vote(state.settings.node_id) and not state.is_catching_up
    is_late = 0 < request.term < state.term
    if may_lead and not is_late and state.role != LEADER:
        core.election.begin(now, transfer=True)


# ---- AppendEntries ----------------------------------------------------------------------------------------------


def _append_entries(core: RaftCore, token: Any, request: AppendEntries, now: float) -> None:
    state, log = core.state, core.state.log
    last_log = log.last_index
    if request.term < state.term:
        state.emit(Answer(token, AppendEntriesReply(state.term, last_log, False)))
        return
    _follow(core, request.term, request.leader, now)
    # Also if it is refused below: the leader counts any answer of its term for its lease.
    state.heard_leader(now)
    if request.pre_voters:
        core.election.learn_all(request.pre_voters)
    if not _well_formed(request):
        # Nothing that a correct leader sends: refused without touching the log.
        state.emit(Answer(token, AppendEntriesReply(state.term, last_log, False)))
        return
    if _is_astray(core, request):
        if request.prev_log_index > 0:
            # With a last index of 0: what helps is the log from its beginning, or a snapshot.
            state.emit(Answer(token, AppendEntriesReply(state.term, 0, False)))
            return
        _leave_behind(core)
        log.start_over()
        state.commit_index = 0
        state.configurations.restore(Configuration(), 0)
        state.configurations_changed()
        state.emit(StartOver())
        state.emit(ResetLog(1))
    if request.prev_log_index > 0 and not _matches(core, request):
        state.emit(Answer(token, AppendEntriesReply(state.term, last_log, False, no_retry_backoff=True)))
        return
    if request.entries:
        _store(core, request)
    # The paper's rule, and not "up to our last index" as hashicorp/raft has it: entries behind those of this
    # request may be an old leader's, and must not be taken for committed.
    verified = request.prev_log_index + len(request.entries)
    if request.prev_log_index >= log.snapshot_index and verified > 0:
        state.proved_term = state.term
    commit = min(request.leader_commit, verified)
    if commit > state.commit_index:
        state.commit_to(commit)
    state.emit(Answer(token, AppendEntriesReply(state.term, last_log, True, pre_vote=bool(request.pre_voters))))


def _follow(core: RaftCore, term: int, leader: str, now: float) -> None:
    """Becomes (or stays) a follower of `leader` in `term`, which is not below our own."""
    state = core.state
    if term == state.term and state.role == FOLLOWER and state.leader_address == leader:
        return
    was_follower = state.role == FOLLOWER
    if term > state.term:
        state.adopt_term(term)
    core.become_follower(leader, now, quiet=was_follower)


def _well_formed(request: AppendEntries) -> bool:
    """Entries are contiguous after prev_log_index, terms never fall, and configurations decode."""
    index, term = request.prev_log_index, request.prev_log_term
    for entry in request.entries:
        index += 1
        if entry.index != index or not term <= entry.term <= request.term:
            return False
        term = entry.term
        try:
            if entry.type == CONFIGURATION:
                check(codec.decode_configuration(entry.data))
            elif entry.type in (ADD_PEER, REMOVE_PEER):
                codec.decode_peers(entry.data)
        except (codec.EntryError, ConfigurationError):
            return False
    return True


def _is_astray(core: RaftCore, request: AppendEntries) -> bool:
    """Whether our snapshot is none of what the leader's cluster has committed: the state that a user restored, by a
    leader that was replaced before a quorum had it. What lies below its end is not what the leader has there, so
    nothing can be taken that follows it."""
    state, log = core.state, core.state.log
    if request.prev_log_index <= log.snapshot_index and log.snapshot_index > 0:
        seen = [(request.prev_log_index, request.prev_log_term), *(entry[:2] for entry in request.entries)]
        if state.astray_term != request.term and any(log.contradicts_snapshot(*one) for one in seen):
            state.astray_term = request.term
            state.say(
                "error",
                "the restored snapshot of this server never became the cluster's: starting over",
                ("index", log.snapshot_index),
                ("term", log.snapshot_term),
            )
    return state.astray_term == request.term and (request.prev_log_index > 0 or bool(request.entries))


def _leave_behind(core: RaftCore) -> None:
    """Gives up the snapshot of a server that is astray. It stays on the disk, and is believed again after a crash until
    the log holds an entry of a higher term: as long as `State.left_behind` says what is missing."""
    state, log = core.state, core.state.log
    state.astray_term = -1
    state.left_behind = max(state.left_behind, (log.snapshot_term, log.snapshot_index))


def _matches(core: RaftCore, request: AppendEntries) -> bool:
    """Whether our entry before the new ones is the leader's."""
    state, log = core.state, core.state.log
    index = request.prev_log_index
    if index <= log.snapshot_index:
        # Covered by a snapshot, so committed, so equal; `_store` skips what lies below.
        term = log.snapshot_term if index == log.snapshot_index else request.prev_log_term
    else:
        known = log.term_at(index)
        if known is None:
            state.say(
                "warn",
                "failed to get previous log",
                ("previous-index", index),
                ("last-index", log.last_index),
                ("error", "log not found"),
            )
            return False
        term = known
    if term != request.prev_log_term:
        state.say("warn", "previous log term mis-match", ("ours", term), ("remote", request.prev_log_term))
        return False
    return True


def _store(core: RaftCore, request: AppendEntries) -> None:
    """Stores the entries that the log does not hold, from the first one whose term differs."""
    state, log = core.state, core.state.log
    new = list(_missing(core, request))
    if not new:
        return
    if new[0].index <= log.last_index:
        state.say("warn", "clearing log suffix", ("from", new[0].index), ("to", log.last_index))
        state.configurations.cut(new[0].index)
        state.configurations_changed()
    log.append(new)
    for entry in new:
        state.store_configuration(entry)
    state.emit(AppendLog(new))


def _missing(core: RaftCore, request: AppendEntries) -> tuple[Entry, ...]:
    log, commit_index = core.state.log, core.state.commit_index
    for position, entry in enumerate(request.entries):
        if entry.index > log.last_index:
            return request.entries[position:]
        if entry.index > commit_index and log.term_at(entry.index) != entry.term:
            return request.entries[position:]
    return ()


# ---- RequestVote ------------------------------------------------------------------------------------------------


def _request_vote(core: RaftCore, token: Any, request: RequestVote, now: float) -> None:
    state, log = core.state, core.state.log

    def answer(granted: bool) -> None:
        state.emit(Answer(token, RequestVoteReply(state.term, granted)))

    core.election.learn(state.configurations.latest.id_of(request.candidate), request.pre_vote)
    if state.is_bound(request.candidate, now) and not request.leadership_transfer:
        state.say(
            "warn",
            "rejecting vote request since we have a leader",
            ("from", request.candidate),
            ("leader", state.leader_address),
        )
        return answer(False)
    if request.term < state.term:
        return answer(False)
    if request.term > state.term:
        state.say("debug", "lost leadership because received a requestVote with a newer term")
        was_follower = state.role == FOLLOWER
        state.adopt_term(request.term)
        core.become_follower("", now, quiet=was_follower)
    if state.hard.vote_term == request.term and state.hard.vote_candidate:
        state.say("info", "duplicate requestVote for same term", ("term", request.term))
        again = state.hard.vote_candidate == request.candidate
        if again:
            state.say("warn", "duplicate requestVote from", ("candidate", request.candidate))
        return answer(again)
    last_term, last_index = max((log.last_term, log.last_index), state.left_behind)
    if last_term > request.last_log_term:
        state.say(
            "warn",
            "rejecting vote request since our last term is greater",
            ("candidate", request.candidate),
            ("last-term", last_term),
            ("last-candidate-term", request.last_log_term),
        )
        return answer(False)
    if last_term == request.last_log_term and last_index > request.last_log_index:
        state.say(
            "warn",
            "rejecting vote request since our last index is greater",
            ("candidate", request.candidate),
            ("last-index", last_index),
            ("last-candidate-index", request.last_log_index),
        )
        return answer(False)
    # The vote is written first: a server that answers and then crashes forgets it, and may give a second one in
    # the same term to another candidate.
    state.save(HardState(state.term, request.term, request.candidate))
    state.last_contact = now
    return answer(True)


def _would_vote(core: RaftCore, request: PreVote, now: float) -> bool:
    """Whether this server, as things are now, would vote for the sender. Nothing changes by that."""
    state, log = core.state, core.state.log
    if request.term < state.term or state.is_bound(request.candidate, now):
        return False
    if request.term == state.hard.vote_term and state.hard.vote_candidate != request.candidate:
        return False
    return (request.last_log_term, request.last_log_index) >= max((log.last_term, log.last_index), state.left_behind)


# ---- InstallSnapshot --------------------------------------------------------------------------------------------


def _install_snapshot(core: RaftCore, token: Any, request: InstallSnapshot, now: float) -> None:
    state = core.state
    if not 0 <= request.snapshot_version <= SNAPSHOT_VERSION:
        text = f"unsupported snapshot version {request.snapshot_version}"
        state.emit(Answer(token, InstallSnapshotReply(state.term, False), text))
        return
    if request.term < state.term:
        state.say(
            "info",
            "ignoring installSnapshot request with older term than current term",
            ("request-term", request.term),
            ("current-term", state.term),
        )
        state.emit(Answer(token, InstallSnapshotReply(state.term, False)))
        return
    _follow(core, request.term, request.leader, now)
    state.heard_leader(now)
    if not _is_news(core, request):
        # An old one, or one sent twice: all of it is applied here already.
        state.emit(Answer(token, InstallSnapshotReply(state.term, True)))
        return
    state.emit(ReceiveSnapshot(token, request))


def _is_news(core: RaftCore, request: InstallSnapshot) -> bool:
    return request.last_log_index > core.state.commit_index or _replaces_ours(core, request)


def _replaces_ours(core: RaftCore, request: InstallSnapshot) -> bool:
    """Whether it is wanted although it ends before what was committed here, it seemed."""
    state = core.state
    contradicts = state.log.contradicts_snapshot(request.last_log_index, request.last_log_term)
    return state.astray_term == request.term or contradicts


def snapshot_received(core: RaftCore, event: SnapshotReceived, now: float) -> None:
    """The body is on disk. Much may have happened since it was asked for: it is used only if it still helps."""
    state, log, request = core.state, core.state.log, event.request
    if event.error or request.term != state.term or state.role != FOLLOWER:
        state.emit(Answer(event.token, InstallSnapshotReply(state.term, False), event.error))
        return
    state.heard_leader(now)
    if _is_news(core, request):
        if _replaces_ours(core, request):
            _leave_behind(core)
        fits = log.install_snapshot(request.last_log_index, request.last_log_term)
        state.proved_term = state.term
        state.emit(RestoreSnapshot(request.last_log_index, request.last_log_term))
        state.commit_index = request.last_log_index
        if not fits:
            state.configurations.restore(request.configuration, request.configuration_index)
            state.configurations_changed()
            state.emit(ResetLog(request.last_log_index + 1))
        else:
            if state.configurations.latest_index <= request.configuration_index:
                state.configurations.restore(request.configuration, request.configuration_index)
                state.configurations_changed()
            state.configurations.commit(state.commit_index)
            core.compact()
        state.say("info", "Installed remote snapshot")
    state.emit(Answer(event.token, InstallSnapshotReply(state.term, True)))
