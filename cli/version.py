"""`version`: which Consul this program is compatible with."""

from __future__ import annotations

import os
import sys

from cli.base import ui
from cli.base.flags import FlagSet, StringFlag
from cli.base.usage import usage
from shared.version import (
    CONSUL_PROTOCOL_MAX,
    CONSUL_PROTOCOL_MIN,
    CONSUL_PROTOCOL_VERSION,
    CONSUL_REVISION,
    CONSUL_VERSION,
    PROCONSUL_VERSION,
)

NAME = "version"
SYNOPSIS = "Print the version"
FORMATS = ("pretty", "json")


class Flags(FlagSet):
    def __init__(self) -> None:
        self.format = StringFlag("format", f"Output format, one of {', '.join(FORMATS)}.", FORMATS[0])


def HELP() -> str:
    return usage("Usage: proconsul version [options]", Flags())


def run(argv: list[str]) -> int:
    flags = Flags()
    flags.parse(argv)
    if flags.format.value not in FORMATS:
        ui.error(f"Unknown format: {flags.format.value}")
        return 1
    ui.output(_json() if flags.format.value == "json" else _pretty())
    return 0


def _pretty() -> str:
    lines = [f"Consul v{CONSUL_VERSION}"]
    if CONSUL_REVISION:
        lines.append(f"Revision {CONSUL_REVISION}")
    more = ""
    if CONSUL_PROTOCOL_VERSION < CONSUL_PROTOCOL_MAX:
        more = f" (agent will automatically use protocol >{CONSUL_PROTOCOL_VERSION} when speaking to compatible agents)"
    lines.append(
        f"Protocol {CONSUL_PROTOCOL_VERSION} spoken by default, "
        f"understands {CONSUL_PROTOCOL_MIN} to {CONSUL_PROTOCOL_MAX}{more}"
    )
    if os.path.basename(sys.argv[0]) != "consul":  # scripts written for Consul see what they know
        lines.append(f"Provided by proconsul v{PROCONSUL_VERSION}")
    return "\n".join(lines) + "\n"


def _json() -> str:
    from shared.structs.gojson import dumps_indent

    return dumps_indent(
        {
            "Version": CONSUL_VERSION,
            "Revision": CONSUL_REVISION,
            "Prerelease": "",
            "RPC": {"Default": CONSUL_PROTOCOL_VERSION, "Min": CONSUL_PROTOCOL_MIN, "Max": CONSUL_PROTOCOL_MAX},
        },
        "   ",
    )
