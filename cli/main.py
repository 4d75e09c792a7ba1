"""Entry of the programs `proconsul` and `consul`: finds the command meant, prints help, keeps exit codes.

Word rules, layouts and exit codes are those of the mitchellh/cli library that Consul is built with:
127 for an unknown command, 1 for a group without subcommand or flags before the command.
"""

from __future__ import annotations

import os
import signal
import sys

from cli import completion, registry
from cli.base import ui
from cli.base.errors import SettingsError, ShowHelp
from cli.base.flags import FlagError
from cli.base.usage import program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

HELP_FLAGS = frozenset({"-h", "-help", "--help"})
VERSION_FLAGS = frozenset({"-v", "-version", "--version"})
INSTALL_FLAGS = frozenset({"-autocomplete-install", "--autocomplete-install"})
UNINSTALL_FLAGS = frozenset({"-autocomplete-uninstall", "--autocomplete-uninstall"})
UNKNOWN_COMMAND_STATUS = 127


class CommandLine:
    """The arguments, sorted: the command's name, what belongs to it, and what was said before it."""

    def __init__(self, argv: list[str]) -> None:
        self.command = ""
        self.arguments: list[str] = []
        self.top_flags: list[str] = []
        self.help_wanted = False
        self.version_wanted = False
        self.install_wanted = self.uninstall_wanted = False
        for position, argument in enumerate(argv):
            if argument == "--":
                break
            if argument in HELP_FLAGS:
                self.help_wanted = True  # wherever it stands, even among the command's own arguments
            elif argument in INSTALL_FLAGS:
                self.install_wanted = True  # likewise
            elif argument in UNINSTALL_FLAGS:
                self.uninstall_wanted = True
            elif self.command:
                continue
            elif " " in argument and not argument.startswith("-"):
                break  # never a command, and nothing behind it counts
            else:
                self._before_command(argument, argv, position)

    def _before_command(self, argument: str, argv: list[str], position: int) -> None:
        if argument in VERSION_FLAGS:
            self.version_wanted = True
        elif argument.startswith("-"):
            self.top_flags.append(argument)
        elif argument:
            words = argv[position:]
            words = words[: next((n for n, word in enumerate(words) if " " in word), len(words))]
            self.command = _find_command(" ".join(words)) or argument
            self.arguments = argv[position + 1 + self.command.count(" ") :]


def _find_command(words: str) -> str | None:
    """The name of the command that begins `words`, if it ends at a word's end there or later.

    The "or later" is what mitchellh/cli does: `kvx kv` is taken for `kv`."""
    name = registry.longest_prefix(words)
    return name if name and f"{name} " in f"{words} " else None


def main(argv: list[str] | None = None) -> int:
    """Runs one command; returns its exit status. Dies of SIGINT and SIGPIPE as a C program would."""
    try:
        line = completion.wanted_line()
        status = _complete(line) if line else _dispatch(CommandLine(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        return _die_of(signal.SIGPIPE)
    except KeyboardInterrupt:
        return _die_of(signal.SIGINT)


def _die_of(number: signal.Signals) -> int:
    """The parent learns what happened from the wait status, as from any program without a handler."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    return 128 + number


def _complete(line: str) -> int:
    for word in completion.candidates(line):
        ui.output(word)
    return 0


def _dispatch(line: CommandLine) -> int:
    if line.version_wanted:
        return int(registry.load("version").run([]))
    if line.help_wanted and not line.command:
        ui.output(_overview())
        return 0
    if line.install_wanted or line.uninstall_wanted:
        from cli import completion_install

        return completion_install.run(install=line.install_wanted, uninstall=line.uninstall_wanted)
    if line.command not in registry.MODULES:
        ui.error(_overview())
        return UNKNOWN_COMMAND_STATUS
    module = registry.load(line.command)
    if line.help_wanted:
        ui.output(_help(module))
        return 0
    if line.top_flags:
        ui.error("Invalid flags before the subcommand. If these flags are for\n"
                 "the subcommand, please put them after the subcommand.\n")  # fmt: skip
        ui.error(_help(module))
        return 1
    try:
        return int(module.run(line.arguments))
    except ShowHelp:
        ui.error(_help(module))
    except FlagError as error:
        error.report()
    except SettingsError as error:
        ui.error(f"Error connecting to Consul agent: {error}")
    return 1


def _overview() -> str:
    """The list of commands. Ends with an empty line, as Consul's does."""
    text = f"Usage: {program()} [--version] [--help] <command> [<args>]\n\nAvailable commands are:\n"
    return text + "".join(f"{line}\n" for line in _synopses(""))


def _help(module: ModuleType) -> str:
    """A command's help text with its subcommands, in the name the program was called by."""
    text: str = module.HELP() if callable(module.HELP) else module.HELP
    if subcommands := _synopses(module.NAME):
        text = "\n".join([text.strip(), "", "Subcommands:", *subcommands])
    return text.strip().replace("proconsul", program())


def _synopses(name: str) -> list[str]:
    children = registry.children(name)
    width = max(map(len, children), default=0)
    lines = []
    for child in children:
        word = child.rpartition(" ")[2]
        padded = word + " " * (width - len(child))
        lines.append(f"    {padded}    {registry.load(child).SYNOPSIS}")
    return lines


if __name__ == "__main__":
    sys.exit(main())
