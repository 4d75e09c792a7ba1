"""What a signal means to an agent: leave the cluster first, or just end. Rules and names of Consul's agent."""

from __future__ import annotations

import signal

LEAVE_TIMEOUT_S = 15.0
"""Longest a graceful leave may take."""

EXIT_LEFT, EXIT_NOT_LEFT = 0, 1

_GO_NAMES = {
    signal.SIGINT: "interrupt",
    signal.SIGTERM: "terminated",
    signal.SIGHUP: "hangup",
}


class SignalValue(int):
    """A signal as Go logs it: its name in plain lines, its number in JSON."""

    def __str__(self) -> str:
        return _GO_NAMES.get(signal.Signals(self), signal.Signals(self).name)


def leaves_first(number: int, leave_on_terminate: bool, skip_leave_on_interrupt: bool) -> bool:
    """Does this signal ask for a graceful leave?"""
    if number == signal.SIGINT:
        return not skip_leave_on_interrupt
    return number == signal.SIGTERM and leave_on_terminate
