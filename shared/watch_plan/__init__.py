"""Watches: what is asked of an agent's API again and again, and when a handler hears of an answer. No I/O in here:
the CLI and the agent run the same plans, each with requests of its own.

parse(parameters, exempt) -> Plan    a watch as a configuration or command line describes it; raises WatchError
plan.request(last) -> Request        the next request: path and query parameters
plan.read(answer, last) -> Seen      what an answer shows; raises WatchError
Progress(plan)                       .take(answer) -> (index, data) for the handler, or None; .fail() -> seconds"""

from shared.watch_plan.parameters import parse
from shared.watch_plan.plan import Answer, Plan, Request, Seen, WatchError
from shared.watch_plan.progress import Progress

__all__ = ["Answer", "Plan", "Progress", "Request", "Seen", "WatchError", "parse"]
