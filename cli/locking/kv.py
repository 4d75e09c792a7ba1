"""Keys over HTTP as a lock needs them: reads that wait for a change, writes that depend on a session or an index."""

from __future__ import annotations

import base64

from cli.base import gojson
from cli.base.errors import ApiError
from shared.gotext.json_syntax import JsonSyntaxError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cli.base.client import Client

SERVER_ERROR = "Unexpected response code: 500"


def is_retryable(error: ApiError) -> bool:
    """Whether the agent may be well again soon: no answer at all, or one that blames a server."""
    text = str(error)
    return SERVER_ERROR in text or text.startswith('Get "')


class Pair:
    """A key and what is known of it. `session`: who has locked it, "" for nobody."""

    __slots__ = ("flags", "key", "modify_index", "session", "value")

    def __init__(
        self, key: str, value: bytes | None = None, *, flags: int = 0, session: str = "", modify_index: int = 0
    ) -> None:
        self.key, self.value, self.flags, self.session, self.modify_index = key, value, flags, session, modify_index


class Wait:
    """How a read waits: until the index is newer than `index`, at most `wait_ns` (0: as long as the agent says)."""

    def __init__(self, wait_ns: int = 0, *, consistent: bool = False) -> None:
        self.index, self.wait_ns, self._consistent = 0, wait_ns, consistent

    def params(self) -> dict[str, str]:
        params = {"consistent": ""} if self._consistent else {}
        if self.index:
            params["index"] = str(self.index)
        if self.wait_ns:
            params["wait"] = f"{max(self.wait_ns // 1_000_000, 1)}ms"
        return params


class KV:
    """One agent's KV store. All methods raise ApiError."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def get(self, key: str, wait: Wait | None = None) -> tuple[Pair | None, int]:
        """(the pair or None, index)."""
        found, index = self._read(key, {}, wait)
        return (_pair(found[0]) if found else None), index

    def tree(self, prefix: str, wait: Wait | None = None) -> tuple[list[Pair], int]:
        """(pairs below a prefix, index)."""
        found, index = self._read(prefix, {"recurse": ""}, wait)
        return [_pair(each) for each in found], index

    def keys(self, prefix: str, wait: Wait | None = None) -> tuple[list[str], int]:
        """(names below a prefix, index)."""
        found, index = self._read(prefix, {"keys": ""}, wait)
        return [str(each) for each in found], index

    def acquire(self, pair: Pair) -> bool:
        """Lock the key for the pair's session; False if that cannot be now."""
        return self._put(pair, {"acquire": pair.session})

    def release(self, pair: Pair) -> bool:
        return self._put(pair, {"release": pair.session})

    def cas(self, pair: Pair) -> bool:
        """Write if the key still has the pair's modify_index; 0: if it does not exist."""
        return self._put(pair, {"cas": str(pair.modify_index)})

    def delete(self, key: str) -> None:
        self._delete(key, {})

    def delete_cas(self, pair: Pair) -> bool:
        return self._delete(pair.key, {"cas": str(pair.modify_index)})

    def delete_tree(self, prefix: str) -> None:
        self._delete(prefix, {"recurse": ""})

    def _read(self, key: str, params: dict[str, str], wait: Wait | None) -> tuple[list[Any], int]:
        params = {**params, **(wait.params() if wait is not None else {})}
        response = self._client.request("GET", f"/v1/kv/{key.removeprefix('/')}", params)
        body = response.read()
        header = response.headers.get("x-consul-index", "")
        index = int(header) if header.isdigit() else 0
        if response.status == 404:
            return [], index
        if response.status != 200:
            raise ApiError(f"Unexpected response code: {response.status}")
        try:
            return gojson.decode_first(body) or [], index
        except JsonSyntaxError as error:
            raise ApiError(str(error)) from None

    def _put(self, pair: Pair, params: dict[str, str]) -> bool:
        if pair.key.startswith("/"):
            raise ApiError(f"Invalid key. Key must not begin with a '/': {pair.key}")
        if pair.flags:
            params["flags"] = str(pair.flags)
        return b"true" in self._client.put(f"/v1/kv/{pair.key}", params, pair.value or b"")

    def _delete(self, key: str, params: dict[str, str]) -> bool:
        return b"true" in self._client.delete(f"/v1/kv/{key.removeprefix('/')}", params)


def _pair(found: dict[str, Any]) -> Pair:
    value = found.get("Value")
    return Pair(
        found["Key"],
        None if value is None else base64.b64decode(value),
        flags=found.get("Flags") or 0,
        session=found.get("Session") or "",
        modify_index=found.get("ModifyIndex") or 0,
    )


def join(*parts: str) -> str:
    """Go's path.Join: parts without the empty ones, cleaned of `.`, `..` and double slashes."""
    text = "/".join(part for part in parts if part)
    rooted, kept = text.startswith("/"), list[str]()
    for part in text.split("/"):
        if part == ".." and kept and kept[-1] != "..":
            kept.pop()
        elif part not in ("", ".") and not (rooted and part == ".."):
            kept.append(part)
    joined = "/" * rooted + "/".join(kept)
    return joined or ("." if text else "")
