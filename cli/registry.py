"""The commands there are, and the module of each. Modules are imported only when their command is meant.

A command module has
    NAME        the words that call it, "kv get"
    SYNOPSIS    one line for the list of commands
    HELP        its help text, or a function that makes it; begins with "Usage: proconsul NAME ..."
    run(argv)   does the work with the arguments behind the name; returns the exit status. May raise
                FlagError, SettingsError and ShowHelp, which `cli.main` turns into text and status 1.
"""

from __future__ import annotations

import importlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

MODULES = {
    "agent": "cli.agent",
    "catalog": "cli.catalog",
    "catalog datacenters": "cli.catalog.datacenters",
    "catalog nodes": "cli.catalog.nodes",
    "catalog services": "cli.catalog.services",
    "component": "cli.component",
    "config": "cli.config",
    "config delete": "cli.config.delete",
    "config list": "cli.config.list",
    "config read": "cli.config.read",
    "config write": "cli.config.write",
    "debug": "cli.debug",
    "event": "cli.event",
    "exec": "cli.exec",
    "force-leave": "cli.force_leave",
    "info": "cli.info",
    "join": "cli.join",
    "keygen": "cli.keygen",
    "keyring": "cli.keyring",
    "kv": "cli.kv",
    "kv delete": "cli.kv.delete",
    "kv export": "cli.kv.export",
    "kv get": "cli.kv.get",
    "kv import": "cli.kv.import_",
    "kv put": "cli.kv.put",
    "leave": "cli.leave",
    "lock": "cli.lock",
    "maint": "cli.maint",
    "members": "cli.members",
    "monitor": "cli.monitor",
    "operator": "cli.operator",
    "operator autopilot": "cli.operator.autopilot",
    "operator autopilot get-config": "cli.operator.autopilot.get_config",
    "operator autopilot set-config": "cli.operator.autopilot.set_config",
    "operator raft": "cli.operator.raft",
    "operator raft list-peers": "cli.operator.raft.list_peers",
    "operator raft remove-peer": "cli.operator.raft.remove_peer",
    "operator raft transfer-leader": "cli.operator.raft.transfer_leader",
    "ps": "cli.ps",
    "reload": "cli.reload",
    "restart": "cli.restart",
    "rtt": "cli.rtt",
    "services": "cli.services",
    "services deregister": "cli.services.deregister",
    "services register": "cli.services.register",
    "snapshot": "cli.snapshot",
    "snapshot inspect": "cli.snapshot.inspect",
    "snapshot restore": "cli.snapshot.restore",
    "snapshot save": "cli.snapshot.save",
    "validate": "cli.validate",
    "version": "cli.version",
    "watch": "cli.watch",
}


def load(name: str) -> ModuleType:
    return importlib.import_module(MODULES[name])


def longest_prefix(words: str) -> str | None:
    """The longest command name that `words` begins with, character by character ("kv" of "kvx")."""
    found = [name for name in MODULES if words.startswith(name)]
    return max(found, key=len, default=None)


def children(name: str) -> list[str]:
    """Full names of the commands one word below `name` ("" for the top level), sorted."""
    prefix = f"{name} " if name else ""
    return sorted(other for other in MODULES if other.startswith(prefix) and " " not in other[len(prefix) :])
