"""What nodes write below the directory of a job: acknowledgements, output, signs of life and exit codes."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from cli.base import ui
from cli.base.errors import ApiError
from cli.locking.kv import KV, Wait
from shared.gotext.numbers import RangeError, parse_int
from shared.gotext.quoting import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_SPACE = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f"
    "\u205f\u3000"
)
_INT32_MAX = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Ack:
    node: str


@dataclass(frozen=True, slots=True)
class Heartbeat:
    node: str


@dataclass(frozen=True, slots=True)
class Output:
    node: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Exit:
    node: str
    code: int


Event = Ack | Heartbeat | Output | Exit


class Results:
    """Reads results in a thread. report(event) for each; report(None) when they cannot be read any more."""

    def __init__(self, kv: KV, directory: str, wait_ns: int, report: Callable[[Event | None], None]) -> None:
        self._kv, self._directory, self._report = kv, f"{directory}/", report
        self._wait = Wait(wait_ns)
        self._stopped = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._run, name="read results", daemon=True).start()

    def stop(self) -> None:
        """Nothing is told from here on."""
        self._stopped.set()

    def _run(self) -> None:
        seen: set[str] = set()
        while not self._stopped.is_set():
            try:
                keys, index = self._kv.keys(self._directory, self._wait)
            except ApiError as error:
                if not self._stopped.is_set():
                    ui.error(f"Failed to read results: {error}")
                    self._report(None)
                return
            if index == self._wait.index:
                continue
            self._wait.index = index
            for key in keys:
                if key not in seen and not self._stopped.is_set():
                    seen.add(key)
                    self._take(key)

    def _take(self, key: str) -> None:
        name = key.removeprefix(self._directory)
        node, divider, _ = name.rpartition("/out/")
        if name == "job":
            return
        if name.endswith("/ack"):
            self._report(Ack(name.removesuffix("/ack")))
        elif name.endswith("/exit"):
            value = self._read(key)
            if value is not None:
                self._take_exit(name.removesuffix("/exit"), value)
        elif divider:
            value = self._read(key)
            if value is not None:
                self._report(Output(node, value) if value else Heartbeat(node))
        else:
            ui.error(f"Unknown key '{name}', ignoring.")

    def _read(self, key: str) -> bytes | None:
        reason = "<nil>"
        try:
            pair, _ = self._kv.get(key)
            if pair is not None:
                return pair.value or b""
        except ApiError as error:
            reason = str(error)
        if not self._stopped.is_set():
            ui.error(f"Failed to read key '{key}': {reason}")
        return None

    def _take_exit(self, node: str, value: bytes) -> None:
        text = value.decode("utf-8", "surrogateescape")
        reason = "invalid syntax"
        try:
            code = parse_int(text)
            if not -_INT32_MAX - 1 <= code <= _INT32_MAX:
                raise RangeError
        except RangeError:
            reason = "value out of range"
        except ValueError:
            pass
        else:
            self._report(Exit(node, code))
            return
        ui.error(f"Failed to parse exit code '{text}': strconv.ParseInt: parsing {quote(text)}: {reason}")


class TargetedText:
    """Lines with the name of the node they are about."""

    def __init__(self, node: str) -> None:
        self._node = node

    def info(self, text: str) -> str:
        return self._with_name("==>", text)

    def output(self, data: bytes) -> str:
        return self._with_name("   ", data.decode("utf-8", "surrogateescape"))

    def _with_name(self, arrow: str, text: str) -> str:
        return "".join(f"{arrow} {self._node}: {line}\n" for line in text.split("\n")).rstrip(_SPACE)
