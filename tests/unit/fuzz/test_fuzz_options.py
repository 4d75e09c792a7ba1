"""Query parameters and headers of a read: options that can be sent on, or Consul's 400; never anything else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.http_gateway.errors import BadRequestError
from services.http_gateway.message import Request, TargetError
from services.http_gateway.options import parse_options
from shared.config.runtime import RuntimeConfig
from shared.ipc import frames
from tests.unit.fuzz.fuzzing import fuzz

CONFIG = RuntimeConfig.dev("run")
NAMES = ["index", "wait", "stale", "consistent", "cached", "leader", "max_stale", "dc", "token", "filter", "near", "ns"]
VALUES = st.sampled_from(
    [
        "",
        "1",
        "-1",
        "0",
        "9" * 18,
        "9" * 19,
        "9" * 5000,
        "1e5",
        "10s",
        "9" * 5000 + "s",
        "0." + "9" * 5000 + "s",
        "-5m",
        "%zz",
    ]
) | st.text(max_size=8)
QUERIES = st.lists(st.tuples(st.sampled_from(NAMES) | st.text(max_size=4), VALUES), max_size=6)
DIRECTIVES = ["max-age", "stale-if-error", "must-revalidate", "max-age=", "stale-if-error=", "x=y", "="]
HEADERS = st.lists(st.tuples(st.sampled_from(DIRECTIVES), VALUES).map("".join), max_size=3).map(", ".join)


class Nobody:
    """Takes no answers."""

    def finish(self, request: Request, data: bytes) -> None:
        raise AssertionError("parsing options answers nothing")

    stream = finish


@given(parameters=QUERIES, cache_control=HEADERS, authorization=st.text(max_size=12))
@fuzz(300)
def test_any_query_gives_options_that_can_be_sent_on_or_a_bad_request(
    parameters: list[tuple[str, str]], cache_control: str, authorization: str
) -> None:
    query = "&".join(f"{name}={value}" for name, value in parameters)
    fields = {"cache-control": cache_control, "authorization": authorization}
    try:
        made = Request(Nobody(), "GET", f"/v1/health/state/any?{query}", fields, remote="10.0.0.5:1234")
        options = parse_options(made, CONFIG)
    except (BadRequestError, TargetError):
        return
    assert options.level in ("consistent", "stale", "leader")
    frames.encode([frames.CALL, 1, "Health.ChecksInState", 1, options.to_wire()])
