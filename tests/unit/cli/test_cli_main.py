"""Finding the command, help in the right place, exit codes, and a start that imports little."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from cli import registry
from cli.main import CommandLine
from tests.unit.cli.runner import run_cli


@pytest.mark.parametrize("name", sorted(registry.MODULES))
def test_every_command_has_what_the_registry_promises(name: str) -> None:
    module = registry.load(name)
    assert name == module.NAME
    assert module.SYNOPSIS
    assert "\n" not in module.SYNOPSIS
    outcome = run_cli(*name.split(), "-h", program="proconsul")
    assert outcome.status == 0
    assert outcome.stderr == b""
    assert outcome.stdout.startswith(f"Usage: proconsul {name}".encode())
    assert max(map(len, outcome.stdout.decode().splitlines())) <= 100


def test_every_group_has_a_command_for_itself() -> None:
    for name in registry.MODULES:
        parent = name.rpartition(" ")[0]
        assert not parent or parent in registry.MODULES


@pytest.mark.parametrize("program", ["consul", "proconsul"])
def test_the_overview_names_the_program_as_it_was_called(program: str) -> None:
    outcome = run_cli("-h", program=program)
    lines = outcome.stdout.decode().split("\n")
    assert outcome.status == 0
    assert lines[0] == f"Usage: {program} [--version] [--help] <command> [<args>]"
    assert lines[1:3] == ["", "Available commands are:"]
    assert [line.split()[0] for line in lines[3:-2]] == [name for name in sorted(registry.MODULES) if " " not in name]
    assert lines[-2:] == ["", ""]


@pytest.mark.parametrize("program", ["consul", "proconsul"])
@pytest.mark.parametrize("command", ["join", "force-leave", "leave x"])
def test_help_that_follows_a_complaint_names_the_program_as_it_was_called(program: str, command: str) -> None:
    outcome = run_cli(*command.split(), program=program)
    assert outcome.status == 1
    assert f"Usage: {program} {command.split()[0]} " in (outcome.stdout + outcome.stderr).decode()


def test_the_help_of_version_names_its_flag() -> None:
    assert b"  -format=<string>\n" in run_cli("version", "-h").stdout


def test_an_unknown_command_is_status_127_with_the_overview_on_stderr() -> None:
    outcome = run_cli("no-such-command")
    assert (outcome.status, outcome.stdout) == (127, b"")
    assert outcome.stderr.startswith(b"Usage: consul [--version]")


def test_a_group_alone_lists_its_commands_and_fails() -> None:
    outcome = run_cli("kv")
    assert outcome.status == 1
    assert outcome.stdout == b""
    text = outcome.stderr.decode()
    assert text.startswith("Usage: consul kv <subcommand>")
    listed = text.partition("Subcommands:\n")[2].splitlines()
    assert [line.split()[0] for line in listed] == ["delete", "export", "get", "import", "put"]
    assert all(line.startswith("    ") for line in listed)


@pytest.mark.parametrize(
    ("arguments", "command", "rest"),
    [
        (["kv", "get", "-keys", "x"], "kv get", ["-keys", "x"]),
        (["kv", "-x", "get"], "kv", ["-x", "get"]),
        (["operator", "raft", "list-peers"], "operator raft list-peers", []),
        (["kv get"], "", []),
        (["kv", "get it"], "kv", ["get it"]),
        (["-x", "members", "y"], "members", ["y"]),
        (["members", "--", "-h"], "members", ["--", "-h"]),
        (["", "members"], "members", []),
        ([], "", []),
    ],
)
def test_which_command_is_meant(arguments: list[str], command: str, rest: list[str]) -> None:
    line = CommandLine(arguments)
    assert (line.command, line.arguments) == (command, rest)


def test_version_says_which_consul_it_stands_for() -> None:
    as_consul, as_itself = run_cli("version"), run_cli("version", program="proconsul")
    assert as_consul.stdout.startswith(b"Consul v1.8.7\nProtocol 2 spoken by default, understands 2 to 3")
    assert as_itself.stdout.startswith(as_consul.stdout.rstrip(b"\n"))
    assert b"proconsul v" in as_itself.stdout


def test_short_commands_load_neither_trio_nor_tls_nor_http_libraries() -> None:
    """What `version` and `kv get` import decides how long they take."""
    code = (
        "import sys; from cli.main import main; main(['version']); main(['kv', 'get', 'x']);"
        "print(sorted({'trio', 'ssl', 'httpx2', 'pydantic', 'asyncio', 'http', 'dataclasses'} & set(sys.modules)))"
    )
    environment = {**os.environ, "CONSUL_HTTP_ADDR": "127.255.255.254:1"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=environment, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_output_into_a_closed_pipe_ends_the_program_by_sigpipe() -> None:
    code = "import sys; from cli.main import main; sys.exit(main(['-h']))"
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as pipe:
        done = subprocess.run(
            [sys.executable, "-c", code], stdout=pipe, stderr=subprocess.PIPE, timeout=60, check=False
        )
    assert (done.returncode, done.stderr) == (-signal.SIGPIPE, b"")
