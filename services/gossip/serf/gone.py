"""Members that failed or left, as lines of the snapshot file which Serf takes for comments.

Serf forgets them when it is restarted, which there means that the agent is. Here the gossip process can be restarted
by itself: what it would forget then, the leader would take for gone and remove from the catalog. So the lines carry
the run of the agent, and count within that run only. How long ago a member went is not told: the time until it is
forgotten begins anew."""

import json
from typing import Any

from services.gossip.serf.member import Member, Status

GONE = "# gone "
FORGOTTEN = "# forgotten "


def gone_line(run: str, member: Member) -> str:
    """run: a word that is another one whenever the agent is started, "" if nothing tells that."""
    record = [
        member.name,
        member.addr.hex(),
        member.port,
        member.tags,
        member.vsn.hex(),
        int(member.status),
        member.status_ltime,
    ]
    return f"{GONE}{run} {json.dumps(record, separators=(',', ':'))}"


def forgotten_line(run: str, name: str) -> str:
    return f"{FORGOTTEN}{run} {json.dumps(name)}"


def take_in(line: str, run: str, gone: dict[str, Member]) -> None:
    """Apply one comment line of the file to what is known so far. Lines of other runs and damaged ones do nothing."""
    for kind in (GONE, FORGOTTEN):
        prefix = f"{kind}{run} "
        if line.startswith(prefix):
            try:
                value = json.loads(line.removeprefix(prefix))
                if kind == FORGOTTEN:
                    gone.pop(value, None)
                else:
                    member = _member(value)
                    gone[member.name] = member
            except (ValueError, TypeError):
                pass  # cut, or not ours


def _member(record: list[Any]) -> Member:
    """Raises ValueError, TypeError."""
    name, addr, port, tags, vsn, status, status_ltime = record
    ip, versions = bytes.fromhex(addr), bytes.fromhex(vsn)
    is_member = isinstance(name, str) and isinstance(tags, dict) and isinstance(status_ltime, int)
    is_reachable = len(ip) in (4, 16) and type(port) is int and 0 <= port < 65536 and len(versions) == 6
    if not is_member or not is_reachable or Status(status) not in (Status.FAILED, Status.LEFT):
        raise ValueError("not a member that is gone")
    return Member(name, ip, port, tags, versions, Status(status), status_ltime)
