"""Network segments belong to Consul's Enterprise edition: asking for one is refused as there."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.ipc import RemoteError
from tests.integration.rpc.rpc_neighbours import running


async def test_members_of_a_segment_are_refused(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        for everyone in ("", "_all"):
            found = await rig.call("Agent.Members", {"wan": False, "segment": everyone})
            assert [member["Name"] for member in found] == ["n1"]
        with pytest.raises(RemoteError, match="Network segments are not supported in this version of Consul"):
            await rig.call("Agent.Members", {"wan": False, "segment": "alpha"})
