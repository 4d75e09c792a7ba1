"""-autocomplete-install and -autocomplete-uninstall: lines in the files that bash, zsh and fish read when they start.

A shell counts as there if its file is, for fish its directory. The lines are those of the posener/complete library,
except for the program's own name, so that both programs can be completed side by side."""

from __future__ import annotations

import os
import shutil
import sys
from abc import ABC, abstractmethod

from cli.base import ui
from cli.base.usage import program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_BASH_FILES = (".bashrc", ".bash_profile", ".bash_login", ".profile")
_ZSH_SUPPORT = "autoload -U +X bashcompinit && bashcompinit"
_FISH = """
function __complete_{name}
    set -lx COMP_LINE (commandline -cp)
    test -z (commandline -ct)
    and set COMP_LINE "$COMP_LINE "
    {path}
end
complete -f -c {name} -a "(__complete_{name})"

"""


class _ShellError(Exception):
    """The shell's file stays as it is. The text says why."""


class _Shell(ABC):
    """path: of what is changed. Both methods raise _ShellError, OSError."""

    def __init__(self, path: str) -> None:
        self.path = path

    @abstractmethod
    def install(self, name: str, executable: str) -> None: ...

    @abstractmethod
    def uninstall(self, name: str, executable: str) -> None: ...


class _LinesShell(_Shell):
    """A line is added to a file that the user has. support: one that must stand before it, and that stays there."""

    def __init__(self, path: str, option: str = "", support: str = "") -> None:
        super().__init__(path)
        self._option, self._support = option, support

    def _line(self, name: str, executable: str) -> str:
        return f"complete {self._option}-C {executable} {name}"

    def install(self, name: str, executable: str) -> None:
        line, there = self._line(name, executable), self._lines()
        if line in there:
            raise _ShellError(f"already installed in {self.path}")
        added = [self._support, line] if self._support and self._support not in there else [line]
        with open(self.path, "a", encoding="utf-8", errors="surrogateescape") as file:
            file.write("".join(f"{each}\n" for each in ["", *added]))

    def uninstall(self, name: str, executable: str) -> None:
        line, there = self._line(name, executable), self._lines()
        if line not in there:
            raise _ShellError(f"does not installed in {self.path}")
        kept = "".join(f"{each}\n" for each in there if each != line)
        target = os.path.realpath(self.path)
        new = f"{target}.{name}"
        with open(new, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(kept)
        shutil.copymode(target, new)
        os.replace(new, target)

    def _lines(self) -> list[str]:
        with open(self.path, encoding="utf-8", errors="surrogateescape", newline="\n") as file:
            return file.read().removesuffix("\n").split("\n")


class _Fish(_Shell):
    """A file of its own in a directory of completions."""

    def _file(self, name: str) -> str:
        return os.path.join(self.path, "completions", f"{name}.fish")

    def install(self, name: str, executable: str) -> None:
        file = self._file(name)
        if os.path.exists(file):
            raise _ShellError(f"already installed at {file}")
        os.makedirs(os.path.dirname(file), mode=0o755, exist_ok=True)
        with open(file, "w", encoding="utf-8", errors="surrogateescape") as written:
            written.write(_FISH.format(name=name, path=executable))

    def uninstall(self, name: str, executable: str) -> None:
        try:
            os.unlink(self._file(name))
        except FileNotFoundError:
            raise _ShellError(f"does not installed in {self.path}") from None


def run(*, install: bool, uninstall: bool) -> int:
    """Does it for every shell there is; the exit status. What went wrong is said in Consul's words."""
    if install and uninstall:
        return _fail("Either the autocomplete install or uninstall flag may be specified, but not both.")
    shells = list(_shells())
    if not shells:
        return _fail(f"Did not find any shells to {'install' if install else 'uninstall'}")
    name, executable = program(), os.path.abspath(shutil.which(sys.argv[0]) or sys.argv[0])
    problems = []
    for shell in shells:
        try:
            (shell.install if install else shell.uninstall)(name, executable)
        except _ShellError as error:
            problems.append(str(error))
        except OSError as error:
            problems.append(f"open {error.filename}: {os.strerror(error.errno or 0).lower()}")
    if not problems:
        return 0
    count = "1 error" if len(problems) == 1 else f"{len(problems)} errors"
    return _fail(f"{count} occurred:\n" + "".join(f"\t* {problem}\n" for problem in problems) + "\n")


def _shells() -> Iterator[_Shell]:
    home = os.path.expanduser("~")
    in_home = [os.path.join(home, name) for name in (*_BASH_FILES, ".zshrc")]
    bash = next((path for path in in_home[:-1] if os.path.exists(path)), None)
    if bash is not None:
        yield _LinesShell(bash)
    if os.path.exists(in_home[-1]):
        yield _LinesShell(in_home[-1], "-o nospace ", _ZSH_SUPPORT)
    fish = os.path.join(os.environ.get("XDG_CONFIG_HOME") or os.path.join(home, ".config"), "fish")
    if os.path.isdir(fish):
        yield _Fish(fish)


def _fail(problem: str) -> int:
    ui.error(f"Error executing CLI: {problem}")
    return 1
