"""Quorum values: what a majority of voters has reached (Raft 5.3). No terms in here."""

from __future__ import annotations

from collections.abc import Collection, Mapping


def quorum_index(match_index: Mapping[str, int], voters: Collection[str]) -> int:
    """The highest log index that a majority of `voters` has stored; unknown voters count as 0.

    Raises ValueError without voters: nothing can be committed then."""
    if not voters:
        raise ValueError("a configuration without voters has no quorum")
    majority = len(voters) // 2 + 1
    return sorted((match_index.get(voter, 0) for voter in voters), reverse=True)[majority - 1]


def quorum_time(contact: Mapping[str, float], voters: Collection[str]) -> float:
    """The latest time since which a majority of `voters` has been in contact; never is minus infinity."""
    if not voters:
        raise ValueError("a configuration without voters has no quorum")
    majority = len(voters) // 2 + 1
    never = float("-inf")
    return sorted((contact.get(voter, never) for voter in voters), reverse=True)[majority - 1]
