"""Serf's votes about names that two nodes claim, which Consul has off."""

import random

import pytest

from services.gossip.codec.messages import USER, Alive, User
from services.gossip.codec.serf_messages import (
    MemberRecord,
    QueryMessage,
    QueryResponseMessage,
    decode_serf,
    encode_conflict_response,
    encode_serf,
)
from services.gossip.serf import Serf, SerfSettings
from services.gossip.serf.effects import NameVoted
from services.gossip.swim import SwimSettings
from services.gossip.swim.address import Address
from services.gossip.swim.effects import SendPacket

ME, OTHER = Address(bytes((10, 0, 0, 1)), 8301), Address(bytes((10, 0, 0, 9)), 8301)
VSN = (1, 5, 2, 2, 5, 4)


def asked(serf: Serf, now: float) -> set[QueryMessage]:
    """Another node claims the name; the queries that follow."""
    claim = Alive(7, "me", OTHER.ip, OTHER.port, b"", bytes(VSN))
    effects = serf.receive([claim, claim], OTHER, now)
    effects += serf.tick(now)
    effects += serf.tick(now + 0.5)
    packets = [effect for effect in effects if isinstance(effect, SendPacket)]
    users = [decode_serf(part[1:]) for packet in packets for part in packet.parts if part[0] == USER]
    return {message for message in users if isinstance(message, QueryMessage)}


def voter(address: Address | None) -> bytes:
    if address is None:
        return encode_conflict_response(None)
    return encode_conflict_response(MemberRecord("me", address.ip, address.port, {}, 1, *VSN))


@pytest.mark.parametrize(
    ("votes", "kept"),
    [
        ([ME, ME, OTHER], True), ([ME, OTHER], False), ([OTHER, OTHER, ME], False), ([], False),
        ([ME, None, ME], True), ([ME, None], False),
    ],
)  # fmt: skip
def test_the_majority_of_those_who_answer_decides(votes: list[Address | None], kept: bool) -> None:
    serf = Serf(SerfSettings(SwimSettings("me", ME), resolves_conflicts=True), random.Random(1), lambda members: None)
    serf.start(99.0)
    for number in range(6):  # as many answers are taken as members are alive
        serf.receive([Alive(1, f"n{number}", bytes((10, 0, 1, number)), 8301, b"", bytes(VSN))], OTHER, 99.0)
    (query,) = asked(serf, 100.0)
    assert (query.name, query.payload) == ("_serf_conflict", b"me")
    for number, vote in enumerate(votes):
        answer = QueryResponseMessage(query.ltime, query.id, f"n{number}", 0, voter(vote))
        serf.receive([User(encode_serf(answer))], OTHER, 100.6)
    junk = QueryResponseMessage(query.ltime, query.id, "junk", 0, b"\x06\xc1")
    serf.receive([User(encode_serf(junk))], OTHER, 100.6)
    assert asked(serf, 101.0) <= {query}  # while a vote is under way there is no other
    effects = serf.tick(100.0 + query.timeout_ns / 1e9)
    assert [effect.kept for effect in effects if isinstance(effect, NameVoted)] == [kept]
    (again,) = asked(serf, 110.0)
    assert again.id != query.id


def test_as_consul_has_it_names_are_not_voted_on() -> None:
    serf = Serf(SerfSettings(SwimSettings("me", ME)), random.Random(1), lambda members: None)
    serf.start(99.0)
    serf.receive([Alive(1, "a", OTHER.ip, OTHER.port, b"", bytes(VSN))], OTHER, 99.0)
    assert asked(serf, 100.0) == set()
