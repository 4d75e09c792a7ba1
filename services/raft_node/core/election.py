"""Standing for election: pre-vote, which asks whether it can be won, then the vote itself (Raft 5.2, thesis 9.6).

Pre-vote keeps a server that was cut off from raising terms and so from ending the work of a leader that is well.
hashicorp/raft 1.1.2 does not know it: such servers count as if they agreed, and are asked only in the election."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from services.raft_node.core.events import RpcReply, Send
from services.raft_node.core.messages import PreVote, PreVoteReply, RequestVote, RequestVoteReply
from services.raft_node.core.types import CANDIDATE, VOTER, HardState, Server

if TYPE_CHECKING:
    from services.raft_node.core.node import RaftCore

_ASK_AGAIN: Final = 0.25
"""Part of the election timeout after which (once to twice) a pre-vote without result is repeated."""


class Election:
    """The candidate's side of one server. `pre_voters`: IDs of other servers that are known to know pre-vote."""

    def __init__(self, core: RaftCore) -> None:
        self.core = core
        self.state = core.state
        self.pre_voters: dict[str, None] = {}
        self.asking = False
        """Pre-votes were asked for, and neither did a quorum agree nor did a leader show up."""
        self._promises: dict[str, float] = {}
        self._pre_requests: dict[int, str] = {}
        self._votes: dict[str, bool] = {}
        self._requests: dict[int, str] = {}

    def reset(self) -> None:
        """Whatever was asked is of no interest any more."""
        self.asking = False
        self._promises, self._pre_requests = {}, {}
        self._votes, self._requests = {}, {}

    # ---- who knows pre-vote ------------------------------------------------------------------------------------

    def learn(self, server_id: str, knows: bool) -> None:
        if not knows:
            self.pre_voters.pop(server_id, None)
        elif server_id:
            self.pre_voters[server_id] = None

    def learn_all(self, server_ids: tuple[str, ...]) -> None:
        """What a leader says of all servers."""
        node_id = self.state.settings.node_id
        self.pre_voters = {server_id: None for server_id in server_ids if server_id != node_id}

    def known(self) -> tuple[str, ...]:
        """What this server, as the leader, says of all servers."""
        return (self.state.settings.node_id, *self.pre_voters)

    def _other_voters(self) -> list[Server]:
        state = self.state
        return [
            server
            for server in state.configurations.latest.servers
            if server.suffrage == VOTER and server.id != state.settings.node_id
        ]

    @property
    def can_be_refused(self) -> bool:
        """Whether pre-votes can tell that an election would be in vain."""
        configuration = self.state.configurations.latest
        refusing = sum(1 for server in self._other_voters() if server.id in self.pre_voters)
        return len(configuration.voter_ids()) - refusing < configuration.quorum

    # ---- pre-vote ----------------------------------------------------------------------------------------------

    def stand(self, now: float) -> None:
        """Starts an election, or first asks for pre-votes where they can tell something. Call it again at the
        deadline that it sets, as long as there is no leader."""
        state, settings = self.state, self.state.settings
        if now < state.votes_from and not state.is_alone:
            self.core.stand_again_at(state.votes_from)  # to vote for oneself is a vote, too
            return
        if state.is_catching_up:
            self.core.stand_again_at(now + state.random_timeout_s(settings.election_timeout_s))
            return
        if not self.can_be_refused:
            self.begin(now)
            return
        self.asking = True
        request = PreVote(state.term + 1, settings.address, state.log.last_index, state.log.last_term)
        state.say("debug", "asking for pre-votes", ("term", request.term))
        for server in self._other_voters():
            if server.id in self.pre_voters:
                request_id = state.next_request_id()
                self._pre_requests[request_id] = server.id
                state.emit(Send(request_id, server, request))
        self.core.stand_again_at(now + state.random_timeout_s(settings.election_timeout_s * _ASK_AGAIN))

    def _count_pre_vote(self, voter: str, reply: PreVoteReply, now: float) -> None:
        state = self.state
        if not reply.granted:
            self._promises.pop(voter, None)
            return
        self._promises[voter] = now
        configuration = state.configurations.latest
        # A promise is worth something only as long as the one who gave it can be expected to hear of no leader.
        since = now - state.settings.election_timeout_s
        agreed = sum(
            1
            for server in self._other_voters()
            if server.id not in self.pre_voters or self._promises.get(server.id, since) > since
        )
        if agreed + configuration.has_vote(state.settings.node_id) >= configuration.quorum:
            self.begin(now)

    # ---- vote --------------------------------------------------------------------------------------------------

    def begin(self, now: float, *, transfer: bool = False) -> None:
        """Becomes candidate of the next term and asks every voter.

        transfer: the leader asked for it; voters then grant although they have a leader."""
        state, settings = self.state, self.state.settings
        self.core.end_leadership()
        self.reset()
        state.role = CANDIDATE
        state.leader_address = ""
        term = state.term + 1
        state.say("info", "entering candidate state", ("node", str(state)), ("term", term))
        state.count_role()
        voter = state.configurations.latest.has_vote(settings.node_id)
        state.save(
            HardState(term, term, settings.address)
            if voter
            else HardState(term, state.hard.vote_term, state.hard.vote_candidate)
        )
        state.announce()
        state.say("debug", "votes", ("needed", state.configurations.latest.quorum))
        self.core.stand_again_at(now + state.random_timeout_s(settings.election_timeout_s))
        request = RequestVote(
            term, settings.address, state.log.last_index, state.log.last_term, transfer, pre_vote=True
        )
        for server in self._other_voters():
            request_id = state.next_request_id()
            self._requests[request_id] = server.id
            state.emit(Send(request_id, server, request))
        if voter:
            self._count_vote(settings.node_id, now)

    def _count_vote(self, voter: str, now: float) -> None:
        state = self.state
        self._votes[voter] = True
        tally = len(self._votes)
        state.say("debug", "vote granted", ("from", voter), ("term", state.term), ("tally", tally))
        if tally >= state.configurations.latest.quorum:
            self.reset()
            state.say("info", "election won", ("tally", tally))
            self.core.become_leader(now)

    def reply(self, event: RpcReply, now: float) -> None:
        """An answer to one of our questions, of a term that is not above ours."""
        reply = event.reply
        if isinstance(reply, PreVoteReply):
            voter = self._pre_requests.pop(event.request_id, None)
            if voter is not None and self.asking:
                self._count_pre_vote(voter, reply, now)
        elif isinstance(reply, RequestVoteReply):
            voter = self._requests.pop(event.request_id, None)
            if voter is not None and reply.granted and self.state.role == CANDIDATE:
                self._count_vote(voter, now)
