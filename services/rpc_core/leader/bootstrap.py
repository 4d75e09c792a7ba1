"""Config entries of the configuration: what a new leader has to write because nobody has yet."""

from __future__ import annotations

from services.rpc_core.core import Core
from shared.state.queries.config_entry import find
from shared.structs.config_entry_rules import decode_entry
from shared.structs.config_entry_wire import UPSERT_CAS, ConfigEntryRequest


def missing_entries(core: Core) -> list[ConfigEntryRequest]:
    """Requests for the entries that do not exist; each takes effect only if that is still so when it is applied."""
    entries = [decode_entry(raw) for raw in core.config.config_entries_bootstrap]
    if core.reader.available():
        with core.snapshot() as snap:
            entries = [entry for entry in entries if find(snap, entry.kind_name, entry.name) is None]
    for entry in entries:
        entry.create_index = entry.modify_index = 0
    return [ConfigEntryRequest(UPSERT_CAS, entry, core.config.datacenter) for entry in entries]
