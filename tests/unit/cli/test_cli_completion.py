"""Completion in shells: what is offered, and what is written into their files. Expectations are the real CLI's."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.cli.runner import Outcome, run_cli

COMPLETE = "complete -C /usr/bin/consul consul\n"
AUTOLOAD = "autoload -U +X bashcompinit && bashcompinit\n"
ZSH = "complete -o nospace -C /usr/bin/consul consul\n"
FISH = """
function __complete_consul
    set -lx COMP_LINE (commandline -cp)
    test -z (commandline -ct)
    and set COMP_LINE "$COMP_LINE "
    /usr/bin/consul
end
complete -f -c consul -a "(__complete_consul)"

"""


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("consul k", "keygen keyring kv"),
        ("other k", "keygen keyring kv"),
        ("consul kv", "kv"),
        ("consul kv ", "delete export get import put"),
        ("consul  kv  ", "delete export get import put"),
        ("consul kv g", "get"),
        ("consul kv -x g", "get"),
        ("consul nope k", "keygen keyring kv"),
        ("consul -help k", "keygen keyring kv"),
        ("consul operator r", "raft"),
        ("consul -", "-autocomplete-install -autocomplete-uninstall -help -version"),
        ("consul -autocomplete-install", "-autocomplete-install"),
        ("consul --", ""),
        ("consul kv -", ""),
        ("consul kv get ", ""),
        ("consul kv get x ", ""),
        ("consul kv get -token k", ""),
        ("consul", ""),
    ],
)
def test_words_that_are_offered(line: str, words: str) -> None:
    done = run_cli(environment={"COMP_LINE": line})
    assert (done.status, done.stdout.decode().split(), done.stderr) == (0, words.split(), b"")


def test_all_commands_are_offered_before_the_first() -> None:
    offered = run_cli(environment={"COMP_LINE": "consul "}).stdout.decode().split()
    assert {"agent", "kv", "members", "version"} <= set(offered)
    assert not any(" " in word for word in offered)


def test_only_what_stands_before_the_cursor_counts_and_arguments_do_not() -> None:
    done = run_cli("kv", "get", "x", environment={"COMP_LINE": "consul kv g", "COMP_POINT": "8"})
    assert done.stdout.decode().split() == ["keygen", "keyring", "kv"]


def ask(home: Path, *arguments: str, **environment: str) -> Outcome:
    return run_cli(*arguments, environment={"HOME": str(home), "PATH": "/nowhere", **environment})


def install(home: Path, **environment: str) -> Outcome:
    return ask(home, "-autocomplete-install", **environment)


def uninstall(home: Path) -> Outcome:
    return ask(home, "-autocomplete-uninstall")


DONE = Outcome(0, b"", b"")


def refused(*problems: str) -> Outcome:
    return Outcome(1, b"", ("Error executing CLI: " + "\n".join(problems) + "\n").encode())


def test_without_shells_nothing_is_done(tmp_path: Path) -> None:
    assert install(tmp_path) == refused("Did not find any shells to install")
    assert uninstall(tmp_path) == refused("Did not find any shells to uninstall")
    assert not list(tmp_path.iterdir())


def test_a_line_for_bash_comes_and_goes(tmp_path: Path) -> None:
    file = tmp_path / ".bashrc"
    file.write_text("a=1")
    file.chmod(0o640)
    assert install(tmp_path) == DONE
    assert file.read_text() == f"a=1\n{COMPLETE}"
    assert install(tmp_path) == refused("1 error occurred:", f"\t* already installed in {file}", "", "")
    assert uninstall(tmp_path) == DONE
    assert file.read_text() == "a=1\n"
    assert file.stat().st_mode & 0o777 == 0o640
    assert uninstall(tmp_path) == refused("1 error occurred:", f"\t* does not installed in {file}", "", "")
    assert [path.name for path in tmp_path.iterdir()] == [".bashrc"]


def test_every_shell_is_served(tmp_path: Path) -> None:
    for name in (".profile", ".bash_profile", ".zshrc"):
        (tmp_path / name).write_text("z\n")
    (tmp_path / ".config" / "fish").mkdir(parents=True)
    fish = tmp_path / ".config" / "fish" / "completions" / "consul.fish"
    assert install(tmp_path) == DONE
    assert (tmp_path / ".profile").read_text() == "z\n"
    assert (tmp_path / ".bash_profile").read_text() == f"z\n\n{COMPLETE}"
    assert (tmp_path / ".zshrc").read_text() == f"z\n\n{AUTOLOAD}{ZSH}"
    assert fish.read_text() == FISH
    assert install(tmp_path).stderr.count(b"already installed") == 3
    assert uninstall(tmp_path) == DONE
    assert (tmp_path / ".zshrc").read_text() == f"z\n\n{AUTOLOAD}"
    assert not fish.exists()
    assert install(tmp_path) == DONE
    assert (tmp_path / ".zshrc").read_text() == f"z\n\n{AUTOLOAD}\n{ZSH}"


def test_fish_may_live_elsewhere(tmp_path: Path) -> None:
    assert install(tmp_path, XDG_CONFIG_HOME=str(tmp_path / "x")).status == 1
    (tmp_path / "x" / "fish").mkdir(parents=True)
    assert install(tmp_path, XDG_CONFIG_HOME=str(tmp_path / "x")) == DONE
    assert (tmp_path / "x" / "fish" / "completions" / "consul.fish").read_text() == FISH


def test_a_file_that_cannot_be_changed(tmp_path: Path) -> None:
    (tmp_path / ".bashrc").mkdir()
    problem = f"\t* open {tmp_path / '.bashrc'}: is a directory"
    assert install(tmp_path) == refused("1 error occurred:", problem, "", "")


def test_where_the_flags_may_stand(tmp_path: Path) -> None:
    file = tmp_path / ".bashrc"
    file.touch()
    for arguments in (["kv", "get", "-autocomplete-install"], ["--autocomplete-install", "x"]):
        assert ask(tmp_path, *arguments) == DONE
        assert COMPLETE in file.read_text()
        assert uninstall(tmp_path) == DONE
    assert ask(tmp_path, "-autocomplete-install", "-h").stdout.startswith(b"Usage: ")
    assert ask(tmp_path, "-version", "-autocomplete-install").stdout.startswith(b"Consul v")
    assert ask(tmp_path, "--", "-autocomplete-install").status == 127
    assert ask(tmp_path, "-autocomplete-install=true").status == 127
    assert COMPLETE not in file.read_text()
    both = "Either the autocomplete install or uninstall flag may be specified, but not both."
    assert ask(tmp_path, "-autocomplete-install", "-autocomplete-uninstall") == refused(both)
