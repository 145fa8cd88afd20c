"""What hides a path from a user, and how a view shows it all the same.  Real folders, nothing mounted."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from plait.agent.shim import needs, sight
from plait.agent.shim.sight import Cover, Link, plan
from plait.agent.shim.spec import Account, Visible

STRANGER = Account(uid=0x7FFFFFF0, gid=0x7FFFFFF0)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that counts as the whole machine: what is above it is open, and no folder is private by itself."""
    monkeypatch.setattr(sight, "PRIVATE", ())
    may = sight.may
    above = {str(folder) for folder in tmp_path.parents}
    monkeypatch.setattr(sight, "may", lambda path, account, bits: path in above or may(path, account, bits))
    made = tmp_path / "machine"
    made.mkdir()
    tmp_path.chmod(0o755)
    yield made
    for folder, _, _ in os.walk(made):
        Path(folder).chmod(0o755)


def folder(path: Path, mode: int = 0o755) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(mode)
    return path


def file(path: Path, text: str = "", mode: int = 0o644) -> Path:
    folder(path.parent, path.parent.stat().st_mode & 0o777 if path.parent.exists() else 0o755)
    path.write_text(text)
    path.chmod(mode)
    return path


def steps(*needed: Path | Visible) -> list[object]:
    wanted = [one if isinstance(one, Visible) else Visible(path=str(one)) for one in needed]
    return list(plan(wanted, STRANGER).steps)


def shown(path: Path, *, writable: bool = False) -> Visible:
    return Visible(path=str(path), writable=writable)


def covered(path: Path, *, private: bool = False) -> Cover:
    return Cover(str(path), private)


def test_what_can_be_seen_anyway_is_left_alone(root: Path) -> None:
    assert steps(file(root / "open" / "file"), root / "open", root) == []


def test_what_is_not_there_is_left_out(root: Path) -> None:
    closed = folder(root / "closed", 0o700)
    assert steps(root / "none", closed / "none") == []


def test_the_topmost_closed_folder_is_covered_once(root: Path) -> None:
    inner = folder(folder(root / "a" / "b", 0o700) / "c", 0o700)
    one, other = file(inner / "one"), file(root / "a" / "b" / "other")
    assert steps(one, other) == [covered(root / "a" / "b"), shown(one), shown(other)]


def test_a_closed_folder_that_is_needed_itself_stays_as_it_is(root: Path) -> None:
    assert steps(folder(root / "closed", 0o700)) == []


def test_what_lies_in_something_needed_is_not_shown_twice(root: Path) -> None:
    project = folder(folder(root / "home", 0o700) / "project")
    inside = file(project / "src" / "file")
    assert steps(inside, project) == [covered(root / "home"), shown(project)]


def test_a_closed_folder_in_something_needed_has_a_cover_of_its_own(root: Path) -> None:
    project = folder(folder(root / "home", 0o700) / "project")
    inside = file(folder(project / "keys", 0o700) / "public")
    assert steps(project, inside) == [
        covered(root / "home"),
        shown(project),
        covered(project / "keys"),
        shown(inside),
    ]


def test_what_may_be_written_to_is_shown_again_in_what_may_not(root: Path) -> None:
    project = folder(folder(root / "home", 0o700) / "project")
    data = Visible(path=str(folder(project / "data")), writable=True)
    assert steps(project, data) == [covered(root / "home"), shown(project), data]
    assert steps(project, data, project / "data") == [covered(root / "home"), shown(project), data]


def test_the_way_over_symbolic_links_is_made_again(root: Path) -> None:
    home = folder(root / "home", 0o700)
    tool = file(home / "versions" / "3" / "tool")
    (home / "current").symlink_to("versions/3")
    (home / "by-name").symlink_to(home / "current")
    assert steps(home / "by-name" / ".." / "3" / "tool") == [
        covered(home),
        Link(str(home / "by-name"), str(home / "current")),
        Link(str(home / "current"), "versions/3"),
        shown(tool),
    ]


def test_a_link_into_a_closed_folder_from_an_open_one_stays_as_it_is(root: Path) -> None:
    tool = file(folder(root / "home", 0o700) / "tool")
    (folder(root / "bin") / "tool").symlink_to("../home/tool")
    assert steps(root / "bin" / "tool") == [covered(root / "home"), shown(tool)]


def test_a_link_of_the_users_own_opens_no_closed_folder(root: Path) -> None:
    secret = file(folder(root / "home", 0o700) / "secret")
    (root / "link").symlink_to(secret)
    ours = Account(uid=os.getuid(), gid=os.getgid())
    monkey = file(root / "open" / "file")
    (root / "other").symlink_to(monkey)
    folder(root / "home", 0o000)
    assert list(plan([shown(root / "link"), shown(root / "other")], ours).steps) == []


def test_a_circle_of_links_leads_nowhere(root: Path) -> None:
    (root / "one").symlink_to("other")
    (root / "other").symlink_to("one")
    assert steps(root / "one" / "file") == []


def test_a_private_folder_is_covered_whether_or_not_anything_of_it_is_needed(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private = folder(root / "tmp", 0o777)
    monkeypatch.setattr(sight, "PRIVATE", (str(private), str(root / "none")))
    assert steps() == [covered(private, private=True)]
    assert steps(private, root) == [covered(private, private=True)]  # it is not shown for being needed
    inside = file(private / "work" / "file")
    assert steps(inside) == [covered(private, private=True), shown(inside)]


@pytest.mark.parametrize(
    ("mode", "account", "allowed"),
    [
        (0o100, Account(uid=os.getuid(), gid=1), True),
        (0o011, Account(uid=os.getuid(), gid=1), False),  # the owner's bits alone count for the owner
        (0o010, Account(uid=1, gid=os.getgid()), True),
        (0o010, Account(uid=1, gid=1, groups=(os.getgid(),)), True),
        (0o101, Account(uid=1, gid=1, groups=(os.getgid(),)), False),
        (0o001, Account(uid=1, gid=1), True),
        (0o770, Account(uid=1, gid=1), False),
    ],
)
def test_the_bits_of_a_mode_are_read_as_the_kernel_does(
    tmp_path: Path, *, mode: int, account: Account, allowed: bool
) -> None:
    made = folder(tmp_path / "it")
    os.chown(made, os.getuid(), os.getgid())
    made.chmod(mode)
    assert sight.may(str(made), account, sight.ENTER) is allowed


class Tools:
    """Programs below a prefix, found from a directory."""

    def __init__(self, root: Path) -> None:
        self.prefix = folder(root / "prefix")
        self.here = folder(root / "here")
        self.search = needs.Search(f"{self.prefix}/bin:/no/such", str(self.here), STRANGER)

    def program(self, name: str, text: str = "", mode: int = 0o755) -> str:
        return str(file(self.prefix / "bin" / name, text, mode))

    def names(self, *command: str) -> list[str]:
        return [Path(path).name for path in self.search.programs(command)]


@pytest.fixture
def tools(root: Path) -> Tools:
    made = Tools(root)
    for name in ("tool", "reader", "sh"):
        made.program(name)
    return made


@pytest.mark.parametrize(
    ("command", "programs"),
    [
        (("tool", "x"), ["tool"]),
        (("none", "x"), []),
        (("tool", "reader", "data"), ["tool", "reader"]),
        (("tool", "exec reader"), ["tool"]),
        (("sh", "-c", "exec reader -m tool"), ["sh", "reader", "tool"]),
        (("sh", "-c", "cd /;A=1 tool|(reader)&&none"), ["sh", "tool", "reader"]),
        (("./local",), ["local"]),
        (("tool", "./local", "./data"), ["tool", "local"]),
        (("script",), ["script", "reader"]),
        (("by-env",), ["by-env", "env", "tool"]),
        (("script-of-script",), ["script-of-script", "script", "reader"]),
        (("by-pip",), ["by-pip", "sh", "reader"]),
        (("itself",), ["itself"]),
        (("a\0b",), []),
        (("",), []),
    ],
)
def test_the_programs_of_a_command_are_found(
    tools: Tools, command: tuple[str, ...], programs: list[str]
) -> None:
    file(tools.here / "local", mode=0o755)
    file(tools.here / "data")
    script = tools.program("script", f"#! {tools.prefix}/bin/reader -x\n")
    tools.program("by-env", "#!/usr/bin/env -S A=1 tool -x\n")
    tools.program("script-of-script", f"#!{script}\n")
    tools.program("by-pip", f'#!{tools.prefix}/bin/sh\n\'\'\'exec\' "{tools.prefix}/bin/reader" "$0" "$@"\n')
    tools.program("itself", f"#!{tools.prefix}/bin/itself\n")
    assert tools.names(*command) == programs


def test_the_first_program_that_the_user_may_run_is_the_one(tools: Tools, root: Path) -> None:
    first = file(root / "first" / "tool", mode=0o700)
    search = needs.Search(f"{root}/first:{tools.prefix}/bin", str(tools.here), STRANGER)
    assert search.find("tool") == f"{tools.prefix}/bin/tool"
    assert needs.Search(f"{root}/first", "/", STRANGER).find("tool") == str(first)


def test_a_program_is_run_a_script_read_too_and_a_file_only_read(tools: Tools) -> None:
    tools.program("script", f"#!{tools.prefix}/bin/reader\n")
    for name, mode in (("data", 0o644), ("local", 0o711)):
        file(tools.here / name, mode=mode)
    command = ("script", "data", "none", "./local", "data\0")
    assert [(Path(path).name, right) for path, right in needs.hurdles(tools.search, command, words=True)] == [
        ("script", os.X_OK | os.R_OK),
        ("reader", os.X_OK),
        ("data", os.R_OK),
        ("local", os.X_OK),
    ]
    assert len(needs.hurdles(tools.search, command, words=False)) == 2
    assert needs.hurdles(tools.search, ("none",), words=True) == []


def test_beside_a_program_lies_what_its_prefix_has_and_never_the_prefix(tools: Tools) -> None:
    tool = f"{tools.prefix}/bin/tool"
    beside = {f"{tools.prefix}/{name}" for name in ("bin", "lib", "lib64", "libexec", "pyvenv.cfg")}
    assert set(tools.search.around(tool)) == {tool, *beside}


def test_links_lead_to_other_prefixes(tools: Tools, root: Path) -> None:
    other = file(root / "other" / "bin" / "tool", mode=0o755)
    link = tools.prefix / "bin" / "link"
    link.symlink_to("../../other/bin/tool")
    around = set(tools.search.around(str(link)))
    assert f"{tools.prefix}/lib" in around
    assert any(os.path.realpath(path) == str(other) for path in around)
    assert str(root / "other" / "lib") in {os.path.normpath(path) for path in around}


def test_a_virtual_environment_leads_to_the_python_it_was_made_with(tools: Tools, root: Path) -> None:
    file(root / "base" / "bin" / "python3", mode=0o755)
    file(tools.prefix / "pyvenv.cfg", f"version = 3\nhome = {root}/base/bin\n")
    assert f"{root}/base/lib" in set(tools.search.around(f"{tools.prefix}/bin/tool"))


def test_what_the_user_has_written_itself_leads_nowhere(tools: Tools) -> None:
    ours = needs.Search(tools.search.path, tools.search.directory, Account(uid=os.getuid(), gid=os.getgid()))
    script = tools.program("script", "#!/usr/bin/env tool\n")
    (tools.prefix / "bin" / "link").symlink_to("tool")
    file(tools.prefix / "pyvenv.cfg", "home = /elsewhere/bin\n")
    assert ours.programs(("script",)) == [script]
    around = set(ours.around(f"{tools.prefix}/bin/link"))
    assert f"{tools.prefix}/bin/tool" not in around
    assert not any(path.startswith("/elsewhere") for path in around)


def test_a_home_is_never_shown_for_a_program_in_it(
    tools: Tools, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = folder(root / "home" / "bin")
    entry = type("Entry", (), {"pw_dir": str(home)})
    monkeypatch.setattr("pwd.getpwall", lambda: [entry])
    assert list(tools.search.around(str(file(home / "tool", mode=0o755)))) == [f"{home}/tool"]


def test_a_folder_that_the_user_may_not_enter_is_of_no_use(tools: Tools, root: Path) -> None:
    tool = file(folder(root / "closed" / "bin", 0o700) / "tool", mode=0o755)
    assert list(tools.search.around(str(tool))) == [str(tool)]
