"""What the agent keeps of its services and checks under the data directory, in Consul's files.

services/<md5 of the id>           the definition as it was registered, its token and source
services/configs/<md5 of the id>   the central defaults that were last seen for a proxy
checks/<md5 of the id>             a check and how it is carried out
checks/state/<md5 of the id>       the last word of a TTL check, and when it expires

Writes are collected and carried out by `flush`, in a thread: a slow disk delays who registers, nobody else."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import md5
from pathlib import Path
from typing import Any, TypeVar

import trio

from shared.log import get_logger
from shared.structs import gojson
from shared.structs.catalog import HealthCheck, NodeService
from shared.structs.config_entry_wire import ServiceConfigResponse
from shared.structs.errors import StructError
from shared.structs.proxy import CheckType
from shared.structs.schema import Struct

_log = get_logger("agent")

S = TypeVar("S", bound=Struct)

LOCAL, REMOTE = "local", "remote"
"""Sources: the agent's own configuration, or a call."""
_SOURCES = {"": LOCAL, LOCAL: LOCAL, REMOTE: REMOTE}


class PersistError(Exception):
    """The data directory cannot be read or written; the text says what was tried."""


@dataclass(frozen=True, slots=True)
class SavedService:
    """source: None if the file names one that does not exist."""

    path: str
    service: NodeService
    token: str
    source: str | None


@dataclass(frozen=True, slots=True)
class SavedCheck:
    """check_type: None for maintenance, which nothing carries out."""

    path: str
    check: HealthCheck
    check_type: CheckType | None
    token: str
    source: str | None


@dataclass(frozen=True, slots=True)
class SavedState:
    """expires_s: Unix time."""

    status: str
    output: str
    expires_s: int


class Files:
    """data_dir: "" keeps nothing."""

    def __init__(self, data_dir: str) -> None:
        self.enabled = bool(data_dir)
        root = Path(data_dir)
        self._services, self._configs = root / "services", root / "services" / "configs"
        self._checks, self._states = root / "checks", root / "checks" / "state"
        self._queue: list[Callable[[], None]] = []

    # -- writing ---------------------------------------------------------------------------------

    async def flush(self) -> None:
        """Carry out what was asked for since the last time, in order. Raises PersistError for the first thing that
        cannot be done; the others are done all the same.

        The agent's state has changed already: a caller that gives up must not keep the disk from following."""
        queue, self._queue = self._queue, []
        if queue:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(_run_all, queue)

    def _write(self, directory: Path, key: str, record: dict[str, Any]) -> None:
        if self.enabled:
            path, data = directory / _file_name(key), gojson.dumps(record)
            self._queue.append(lambda: _write_atomically(path, data))

    def _remove(self, directory: Path, key: str) -> None:
        if self.enabled:
            path = directory / _file_name(key)
            self._queue.append(lambda: path.unlink(missing_ok=True))

    def save_service(self, service: NodeService, token: str, source: str) -> None:
        record: dict[str, Any] = {"Token": token, "Service": service.to_json(), "Source": source}
        if service.locally_registered_as_sidecar:
            record["LocallyRegisteredAsSidecar"] = True
        self._write(self._services, service.id, record)

    def purge_service(self, service_id: str) -> None:
        self._remove(self._services, service_id)

    def save_defaults(self, service_id: str, defaults: ServiceConfigResponse | None) -> None:
        """None: there are none."""
        if defaults is None:
            self._remove(self._configs, service_id)
        else:
            self._write(self._configs, service_id, {"ServiceID": service_id, "Defaults": defaults.to_json()})

    def save_check(self, check: HealthCheck, check_type: CheckType | None, token: str, source: str) -> None:
        record = {
            "Check": check.to_json(),
            "ChkType": None if check_type is None else check_type.to_json(),
            "Token": token,
            "Source": source,
        }
        self._write(self._checks, check.check_id, record)

    def purge_check(self, check_id: str) -> None:
        self._remove(self._checks, check_id)

    def save_state(self, check_id: str, state: SavedState) -> None:
        record = {"CheckID": check_id, "Output": state.output, "Status": state.status, "Expires": state.expires_s}
        self._write(self._states, check_id, record)

    def purge_state(self, check_id: str) -> None:
        self._remove(self._states, check_id)

    # -- reading ---------------------------------------------------------------------------------

    def services(self) -> list[SavedService]:
        """Raises PersistError for a directory or file that cannot be read; what cannot be understood is skipped."""
        found = []
        for path, content in self._contents(self._services, "service"):
            try:
                record = gojson.loads(content)
                service = _decoded(NodeService, _service_part(record))
            except (StructError, TypeError) as error:
                _log.error("Failed decoding service file", file=str(path), error=str(error))
                continue
            service.locally_registered_as_sidecar = bool(record.get("LocallyRegisteredAsSidecar"))
            source = _SOURCES.get(str(record.get("Source") or ""))
            found.append(SavedService(str(path), service, str(record.get("Token") or ""), source))
        return found

    def defaults(self) -> dict[str, ServiceConfigResponse]:
        """Saved central defaults by service id."""
        found = {}
        for path, content in self._contents(self._configs, "service config"):
            try:
                record = gojson.loads(content)
                service_id = record["ServiceID"]
                found[str(service_id)] = _decoded(ServiceConfigResponse, _part(record, "Defaults"))
            except (StructError, KeyError, TypeError) as error:
                _log.error("Failed decoding service config file", file=str(path), error=str(error))
        return found

    def checks(self) -> list[SavedCheck]:
        """As `services`."""
        found = []
        for path, content in self._contents(self._checks, "check"):
            try:
                record = gojson.loads(content)
                check = _decoded(HealthCheck, _part(record, "Check"))
                how = record.get("ChkType")
                check_type = None if how is None else _decoded(CheckType, how)
            except (StructError, TypeError) as error:
                _log.error("Failed decoding check file", file=str(path), error=str(error))
                continue
            source = _SOURCES.get(str(record.get("Source") or ""))
            found.append(SavedCheck(str(path), check, check_type, str(record.get("Token") or ""), source))
        return found

    def state(self, check_id: str, now_unix_s: float) -> SavedState | None:
        """The last word of a TTL check, None if there is none or it has expired (it is removed then)."""
        path = self._states / _file_name(check_id)
        try:
            record = json.loads(path.read_bytes())
            state = SavedState(str(record["Status"]), str(record["Output"]), int(record["Expires"]))
        except FileNotFoundError:
            return None
        except OSError as error:
            _log.warn("failed restoring state for check", check=check_id, error=_failed("reading", path, error))
            return None
        except (ValueError, KeyError, TypeError) as error:
            _log.error("failed decoding check state", error=str(error))
            self.purge_state(check_id)
            return None
        if now_unix_s >= state.expires_s:
            _log.debug("check state expired, not restoring", check=check_id)
            self.purge_state(check_id)
            return None
        return state

    def _contents(self, directory: Path, what: str) -> Iterator[tuple[Path, bytes]]:
        if not self.enabled:
            return
        try:
            paths = sorted(path for path in directory.iterdir() if not path.is_dir())
        except FileNotFoundError:
            return
        except OSError as error:
            raise PersistError(f'Failed reading {what}s dir "{directory}": {error.strerror}') from None
        for path in paths:
            if path.name.endswith("tmp"):  # a write that a crash cut off
                _log.warn(f"Ignoring temporary {what} file", file=path.name)
                continue
            try:
                yield path, path.read_bytes()
            except OSError as error:
                raise PersistError(f'failed reading {what} file "{path}": {error.strerror}') from None


def _decoded(cls: type[S], value: Any) -> S:
    """Raises StructError."""
    from shared.structs.json_decode import decode_struct  # only an agent that has kept something needs it

    return decode_struct(cls, value, strict=False)


def _file_name(key: str) -> str:
    return md5(key.encode("utf-8", "surrogateescape"), usedforsecurity=False).hexdigest()


def _part(record: Any, name: str) -> Any:
    """The named part of a file. Raises TypeError."""
    if not isinstance(record, dict):
        raise TypeError(f"expected an object, got {type(record).__name__}")
    part = record.get(name)
    if not isinstance(part, dict):
        raise TypeError(f"{name} is missing")
    return part


def _service_part(record: Any) -> Any:
    """Files of very old agents are the service itself, whose field "Service" is its name. Raises TypeError."""
    if isinstance(record, dict) and isinstance(record.get("Service"), str):
        return record
    return _part(record, "Service")


def _run_all(queue: list[Callable[[], None]]) -> None:
    first: OSError | None = None
    for work in queue:
        try:
            work()
        except OSError as error:
            first = first or error
    if first is not None:
        raise PersistError(str(first)) from first


def _write_atomically(path: Path, data: bytes) -> None:
    """The whole new content or the whole old one, whatever happens."""
    temporary = path.with_name(f"{path.name}-{uuid.uuid4()}.tmp")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        descriptor = os.open(temporary, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def _failed(what: str, path: Path, error: OSError) -> str:
    return f'failed {what} file "{path}": {error.strerror}'
