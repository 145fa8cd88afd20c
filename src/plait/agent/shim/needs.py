"""What a command needs to be seen: its programs, what interprets them, and what lies beside them.

What the user itself may have written (its own scripts and links) is not asked: it would be told what to show.
"""

# pathlib would cost the shim memory.
# ruff: noqa: PTH113, PTH114, PTH115, PTH116, PTH118, PTH119, PTH120

from __future__ import annotations

import os
import pwd
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from plait.agent.shim.sight import ENTER, is_of, may
from plait.agent.shim.spec import Account, AppSpec, Confinement, EnvoySpec, Visible

_PREFIX = ("bin", "lib", "lib64", "libexec", "pyvenv.cfg")
_BESIDE = {
    "bin": _PREFIX,
    "sbin": ("sbin", *_PREFIX),
    # pyenv, rbenv, asdf: small scripts that look for the version to run
    "shims": ("shims", "bin", "lib", "libexec", "plugins", "installs", "versions", "version"),
}
"""What is shown of a prefix, by the folder in it that has the program."""
_SHELLS = frozenset({"sh", "ash", "bash", "dash", "ksh", "zsh"})
_BETWEEN_WORDS = str.maketrans(dict.fromkeys(";&|()<>`$'\"{}=", " "))
_HEAD = 1024
_DEEP = 40


def of_application(app: AppSpec, confinement: Confinement) -> list[Visible]:
    """What the application has to see: where it is, what its commands need, and the Python that we run in."""
    search = Search.of(app.env, app.directory, confinement.app)
    programs = [sys.executable, f"{sys.base_prefix}/bin/python3"]
    for command in (app.command, app.probe.command if app.probe else ()):
        programs += search.programs(command)
    paths = [app.directory, *(path for program in programs for path in search.around(program))]
    return [*(Visible(path=path) for path in dict.fromkeys(paths)), *confinement.app_sees]


def of_envoy(envoy: EnvoySpec, confinement: Confinement) -> list[Visible]:
    """What an Envoy has to see: its program with the folder that it is in, and what it is said to need."""
    hops = _hops(envoy.command[0], confinement.envoy)
    folders = [folder for hop in hops if _is_of_use(folder := os.path.dirname(hop), confinement.envoy)]
    return [*(Visible(path=path) for path in (*hops, *folders)), *confinement.envoy_sees]


def hurdles(search: Search, command: Sequence[str], *, words: bool) -> list[tuple[str, int]]:
    """What a command can't do without: (path, what os.access is to grant).

    Its program with all that interprets it and, if `words`, each file that a word of it names.
    """
    program = search.find(command[0])
    chain = search.interpreted(program) if program else []
    named = [os.path.join(search.directory, word) for word in command[1:] if words and "\0" not in word]
    wanted = [(path, _right(path)) for path in named if os.path.isfile(path)]
    return [*((path, _right(path) | os.X_OK) for path in chain), *wanted]


@dataclass(frozen=True, slots=True)
class Search:
    """Where a user's programs are looked for: the folders of its PATH, and the directory it is in."""

    path: str
    directory: str
    account: Account

    @staticmethod
    def of(env: Sequence[tuple[str, str]], directory: str, account: Account) -> Search:
        return Search(dict(env).get("PATH", os.defpath), directory, account)

    def programs(self, command: Sequence[str]) -> list[str]:
        """The programs that a command starts, as far as it tells: that of its first word, others that it names.

        With the interpreter of each script behind it.  A shell's command line is looked through word by word.
        """
        words = list(command[1:])
        if any(os.path.basename(word) in _SHELLS for word in command):
            words = [name for word in words for name in word.translate(_BETWEEN_WORDS).split()]
        named = [path for word in words if (path := self.find(word)) and _is_program(path)]
        first = [path for word in command[:1] if (path := self.find(word))]
        return list(dict.fromkeys(path for program in (*first, *named) for path in self.interpreted(program)))

    def find(self, name: str) -> str:
        """The path of a program by name: the first that the user may run, or the first at all; or nothing."""
        if "\0" in name or not name:
            return ""
        folders = [""] if "/" in name else self.path.split(":")
        paths = [os.path.join(self.directory, folder, name) for folder in folders]
        there = [path for path in paths if os.path.isfile(path)]
        return next((path for path in there if may(path, self.account, ENTER)), there[0] if there else "")

    def interpreted(self, program: str) -> list[str]:
        """A program, and behind it what runs it if it is a script, and what runs that."""
        found = [program]
        for one in found:  # grows while it is walked
            if len(found) < _DEEP and not is_of(one, self.account):
                found += [
                    path for name in _interpreters(one) if (path := self.find(name)) and path not in found
                ]
        return found

    def around(self, program: str) -> Iterator[str]:
        """A program, the files of its prefix, and the same for whatever it is a symbolic link to."""
        for hop in _hops(program, self.account):
            folder = os.path.dirname(hop)
            prefix, name = os.path.split(folder)
            yield hop
            if _is_of_use(folder, self.account):
                yield from (os.path.join(prefix, beside) for beside in _BESIDE.get(name, ()))
                base = _base_of_environment(prefix, self.account)
                if base and base != folder:
                    yield from self.around(os.path.join(base, "python3"))


def _hops(path: str, account: Account) -> list[str]:
    """A path, and where it leads to by one symbolic link after the other."""
    hops = [path]
    while os.path.islink(hops[-1]) and not is_of(hops[-1], account) and len(hops) < _DEEP:
        hops.append(os.path.join(os.path.dirname(hops[-1]), os.readlink(hops[-1])))
    return hops


def _interpreters(path: str) -> list[str]:
    """The names of the programs that run a script; none for what is no script."""
    first, _, rest = _head(path).partition("\n")
    words = first[2:].split() if first.startswith("#!") else []
    if words and os.path.basename(words[0]) == "env":
        return [words[0], *[word for word in words[1:] if not word.startswith("-") and "=" not in word][:1]]
    # What pip writes when the path of the interpreter is too long for the kernel, or has spaces in it.
    if words and rest.startswith("'''exec' "):
        line = rest[9:].partition("\n")[0]
        return [words[0], line[1:].partition('"')[0] if line.startswith('"') else line.partition(" ")[0]]
    return words[:1]


def _head(path: str) -> str:
    """How a file begins; nothing if it can't be read."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # it may have become a pipe
    except OSError:
        return ""
    try:
        return os.fsdecode(os.read(file, _HEAD))
    except OSError:
        return ""
    finally:
        os.close(file)


def _right(path: str) -> int:
    """What somebody has to be granted who uses a file: a program is run, a script read too."""
    if not _is_program(path):
        return os.R_OK
    return os.X_OK | os.R_OK if _interpreters(path) else os.X_OK


def _is_program(path: str) -> bool:
    """Whether it is there to be run, by whomever."""
    return os.stat(path).st_mode & 0o111 != 0


def _base_of_environment(prefix: str, account: Account) -> str:
    """The folder of the interpreter that a virtual environment of Python was made with; empty: it is none."""
    told = os.path.join(prefix, "pyvenv.cfg")
    pairs = [line.partition("=") for line in _head(told).splitlines()] if not is_of(told, account) else []
    return next((value.strip() for key, _, value in pairs if key.strip() == "home"), "")


def _is_of_use(folder: str, account: Account) -> bool:
    """Whether a folder may be shown as a whole: it is nobody's home, and the user may enter it."""
    names = {folder, os.path.realpath(folder)}
    # Homes are not looked at: that could mean to mount each of them.
    return may(folder, account, ENTER) and all(one.pw_dir not in names for one in pwd.getpwall())
