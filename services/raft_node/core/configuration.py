"""Configuration changes: one server at a time, each step validated (Raft thesis 4.1).

The rules and texts are hashicorp/raft 1.1.2's."""

from __future__ import annotations

from typing import Final

from services.raft_node.core.types import NON_VOTER, VOTER, Configuration, Server

ADD_VOTER: Final = "AddStaging"
ADD_NON_VOTER: Final = "AddNonvoter"
DEMOTE_VOTER: Final = "DemoteVoter"
REMOVE_SERVER: Final = "RemoveServer"
"""Names of the changes, as the log line "updating configuration" prints them."""


class ConfigurationError(Exception):
    """The change would make an invalid configuration, or was asked for against an outdated one."""


def check(configuration: Configuration) -> None:
    """Raises ConfigurationError unless IDs and addresses are unique and set, and there is a voter."""
    ids: dict[str, None] = {}
    addresses: dict[str, None] = {}
    for server in configuration.servers:
        if not server.id:
            raise ConfigurationError(f"Empty ID in configuration: {_as_go(configuration)}")
        if not server.address:
            raise ConfigurationError(f"Empty address in configuration: {server}")
        if server.id in ids:
            raise ConfigurationError(f"Found duplicate ID in configuration: {server.id}")
        if server.address in addresses:
            raise ConfigurationError(f"Found duplicate address in configuration: {server.address}")
        ids[server.id] = addresses[server.address] = None
    if not configuration.voter_ids():
        raise ConfigurationError(f"Need at least one voter in configuration: {_as_go(configuration)}")


def _as_go(configuration: Configuration) -> str:
    """As Go prints the struct with %v, which is how errors show it."""
    return f"{{[{' '.join(map(str, configuration.servers))}]}}"


def next_configuration(
    current: Configuration,
    current_index: int,
    command: str,
    server_id: str,
    address: str = "",
    prev_index: int = 0,
) -> Configuration:
    """The configuration after one change.

    prev_index: if not 0, the change is refused unless the latest configuration has this index.
    A known server keeps its suffrage when it is "added" with a lower one; only its address is renewed.
    Raises ConfigurationError."""
    if prev_index and prev_index != current_index:
        raise ConfigurationError(f"Configuration changed since {prev_index} (latest is {current_index})")
    servers = list(current.servers)
    position = next((at for at, server in enumerate(servers) if server.id == server_id), None)
    if command in (ADD_VOTER, ADD_NON_VOTER):
        suffrage = VOTER if command == ADD_VOTER else NON_VOTER
        if position is None:
            servers.append(Server(server_id, address, suffrage))
        else:
            known = servers[position]
            keeps = known.suffrage if command == ADD_NON_VOTER else VOTER
            servers[position] = Server(server_id, address, keeps)
    elif command == DEMOTE_VOTER:
        if position is not None:
            servers[position] = servers[position]._replace(suffrage=NON_VOTER)
    elif command == REMOVE_SERVER:
        if position is not None:
            del servers[position]
    else:
        raise ConfigurationError(f"unknown configuration change {command!r}")
    result = Configuration(tuple(servers))
    check(result)
    return result


class Configurations:
    """The committed and the latest configuration of one server. The latest rules, committed or not.

    A log holds at most one configuration above the committed one: the next may only follow its commit."""

    __slots__ = ("committed", "committed_index", "latest", "latest_index")

    def __init__(self) -> None:
        self.committed = self.latest = Configuration()
        self.committed_index = self.latest_index = 0

    def store(self, configuration: Configuration, index: int) -> None:
        """A configuration entry was stored: it takes effect at once, and proves that the one before it is
        committed (a leader appends none before)."""
        self.committed, self.committed_index = self.latest, self.latest_index
        self.latest, self.latest_index = configuration, index

    def commit(self, commit_index: int) -> bool:
        """Everything up to `commit_index` is committed. True if that committed the latest configuration now."""
        if self.committed_index < self.latest_index <= commit_index:
            self.committed, self.committed_index = self.latest, self.latest_index
            return True
        return False

    def cut(self, first_removed: int) -> None:
        """The log was cut from `first_removed` on: an uncommitted configuration there never was."""
        if first_removed <= self.latest_index:
            self.latest, self.latest_index = self.committed, self.committed_index

    def restore(self, configuration: Configuration, index: int) -> None:
        """A snapshot brought `configuration`, committed at `index`."""
        self.committed = self.latest = configuration
        self.committed_index = self.latest_index = index
