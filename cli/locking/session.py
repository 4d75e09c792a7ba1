"""A session with a TTL, and the thread that renews it in half that time."""

from __future__ import annotations

import contextlib
import json
import threading
import time

from cli.base import gojson
from cli.base.errors import ApiError
from shared.gotext.durations import DurationError, parse_duration_s
from shared.gotext.json_syntax import JsonSyntaxError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cli.base.client import Client

RETRY_S = 1.0
_GOODBYE_S = 5.0
"""How long the end of a session may take; its TTL ends it anyway."""


class SessionExpired(Exception):
    """The session to be renewed does not exist any more."""


def create_session(client: Client, fields: dict[str, Any]) -> str:
    """Creates a session; its id. Raises ApiError."""
    answer = client.put("/v1/session/create", body=json.dumps(fields).encode())
    try:
        return str(gojson.decode_first(answer)["ID"])
    except JsonSyntaxError as error:
        raise ApiError(str(error)) from None


def renew_session(client: Client, session_id: str) -> float:
    """Renews; the TTL in seconds. Raises ApiError, SessionExpired."""
    response = client.request("PUT", f"/v1/session/renew/{session_id}")
    body = response.read()
    if response.status == 404:
        raise SessionExpired(session_id)
    if response.status != 200:
        raise ApiError(f"Unexpected response code: {response.status}")
    try:
        return parse_duration_s(gojson.decode_first(body)[0]["TTL"])
    except (JsonSyntaxError, DurationError, LookupError, TypeError) as error:
        raise ApiError(f"Failed to read response: {error}") from None


def destroy_session(client: Client, session_id: str) -> None:
    """Raises ApiError."""
    client.put(f"/v1/session/destroy/{session_id}")


class Holder:
    """A session of one's own. `connect` makes a client for the thread; made with the session, ended with `end`.

    Raises ApiError when the session cannot be created."""

    def __init__(self, connect: Callable[[], Client], fields: dict[str, Any]) -> None:
        self._client = connect()
        self._ttl_s = parse_duration_s(fields["TTL"])
        self.id = create_session(self._client, fields)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="renew session", daemon=True)
        self._thread.start()

    def _keep(self) -> None:
        wait_s, renewed_at = self._ttl_s / 2, time.monotonic()
        while not self._ended.wait(wait_s):
            try:
                self._ttl_s = renew_session(self._client, self.id)
            except SessionExpired:
                return
            except ApiError:
                if time.monotonic() - renewed_at > self._ttl_s:
                    return
                wait_s = RETRY_S
            else:
                wait_s, renewed_at = self._ttl_s / 2, time.monotonic()
        with contextlib.suppress(ApiError):  # it ends by its TTL then
            destroy_session(self._client, self.id)

    def end(self) -> None:
        """Destroys the session, as far as the agent lets us in time."""
        self._ended.set()
        self._thread.join(_GOODBYE_S)
