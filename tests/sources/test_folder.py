"""A folder: everything below it once, then every change of content, and nothing else."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from plait.model.change import Change, Gone, Stated, Unreadable
from plait.sources.files.folder import Folder, load

BOUND = 15.0
"""Seconds until a change must have been seen; it takes a tenth of one."""


def thing(name: str, value: int = 1) -> str:
    return f"apiVersion: v1\nkind: Thing\nmetadata: {{name: {name}}}\nspec: {{value: {value}}}\n"


def brief(change: Change) -> tuple[str, str]:
    """The name of the file, and what became of it."""
    match change:
        case Stated():
            said = [
                f"{one.document.ref.name}={one.document.value['spec']['value']}" for one in change.documents
            ]
            return Path(change.unit).name, " ".join(said)
        case Unreadable():
            return Path(change.unit).name, "unreadable"
        case Gone():
            return Path(change.unit).name, "gone"


@asynccontextmanager
async def watching(folder: Folder) -> AsyncIterator[list[tuple[str, str]]]:
    """Everything that a watch tells, in the order it comes."""
    seen: list[tuple[str, str]] = []
    stop = asyncio.Event()

    async def collect() -> None:
        async for change in folder.watch(stop):
            seen.append(brief(change))  # noqa: PERF401  each is seen as it comes

    task = asyncio.create_task(collect())
    try:
        yield seen
    finally:
        stop.set()
        await asyncio.wait_for(task, BOUND)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(BOUND):
        while not condition():  # noqa: ASYNC110  what is waited for lies on the disk
            await asyncio.sleep(0.02)


async def settled(folder: Folder, directory: Path, seen: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """What was seen until a last file of our own was, and nothing is in doubt any more."""
    (directory / "zz-last.yaml").write_text(thing("last"))
    await until(lambda: ("zz-last.yaml", "last=1") in seen and not folder._doubtful)
    return [one for one in seen if one[0] != "zz-last.yaml"]


def test_all_files_below_are_read_but_what_is_hidden_or_left_by_an_editor(tmp_path: Path) -> None:
    (tmp_path / "sub" / "deep").mkdir(parents=True)
    (tmp_path / ".git").mkdir()
    for name in ("b.yaml", "a.yml", "c.json", "sub/d.yaml", "sub/deep/E.YAML"):
        (tmp_path / name).write_text(thing("x"))
    for name in (
        ".a.yaml",
        "a.yaml~",
        ".a.yaml.swp",
        "#a.yaml#",
        "~a.yaml",
        "notes.txt",
        ".git/x.yaml",
        "4913",
    ):
        (tmp_path / name).write_text("a: [")
    found = [Path(change.unit).relative_to(tmp_path).as_posix() for change in load([tmp_path])]
    assert found == ["a.yml", "b.yaml", "c.json", "sub/d.yaml", "sub/deep/E.YAML"]


def test_a_file_that_is_named_is_read_whatever_its_ending(tmp_path: Path) -> None:
    (tmp_path / "mesh.txt").write_text(thing("a"))
    assert [brief(change) for change in load([tmp_path / "mesh.txt"])] == [("mesh.txt", "a=1")]


def test_files_are_named_as_they_are_seen_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("a.yaml", "sub/b.yaml"):
        (tmp_path / name).write_text(thing("a"))
    monkeypatch.chdir(tmp_path)
    assert [change.unit for change in Folder([Path()]).load()] == ["a.yaml", "sub/b.yaml"]


def test_a_path_that_does_not_exist_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nowhere: no such file or folder"):
        load([tmp_path, tmp_path / "nowhere"])


def test_what_is_neither_file_nor_folder_is_an_error(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="neither a file nor a folder"):
        load([tmp_path / "pipe"])
    os.mkfifo(tmp_path / "pipe.yaml")
    assert load([tmp_path]) == []


def test_loops_of_links_end_and_a_file_reached_twice_counts_once(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "up").symlink_to(tmp_path)
    (tmp_path / "sub" / "a.yaml").write_text(thing("a"))
    (tmp_path / "twin.yaml").symlink_to(tmp_path / "sub" / "a.yaml")
    (tmp_path / "dead.yaml").symlink_to(tmp_path / "nowhere")
    assert len(load([tmp_path, tmp_path / "sub", tmp_path / "sub" / "a.yaml"])) == 1


def test_a_broken_file_is_unreadable_and_the_others_are_not(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a: [")
    (tmp_path / "b.yaml").write_text(thing("b"))
    assert [brief(change) for change in load([tmp_path])] == [("a.yaml", "unreadable"), ("b.yaml", "b=1")]


async def test_only_a_change_of_content_is_told(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.yaml").write_text(thing(name))
    folder = Folder([tmp_path])
    folder.load()
    async with watching(folder) as seen:
        (tmp_path / "a.yaml").touch()
        (tmp_path / "b.yaml").write_text(thing("b"))
        (tmp_path / "notes.txt").write_text("x")
        (tmp_path / "c.yaml").write_text(thing("c", 2))
        await until(lambda: ("c.yaml", "c=2") in seen)
        assert await settled(folder, tmp_path, seen) == [("c.yaml", "c=2")]


async def test_a_change_between_load_and_watch_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(thing("a"))
    (tmp_path / "b.yaml").write_text(thing("b"))
    folder = Folder([tmp_path])
    folder.load()
    before = (tmp_path / "a.yaml").stat()
    (tmp_path / "a.yaml").write_text(thing("a", 2))
    os.utime(
        tmp_path / "a.yaml", ns=(before.st_atime_ns, before.st_mtime_ns)
    )  # as a clock too coarse to tell
    (tmp_path / "b.yaml").unlink()
    async with watching(folder) as seen:
        await until(lambda: {("a.yaml", "a=2"), ("b.yaml", "gone")} <= set(seen))
    assert len(seen) == 2


async def test_files_that_come_and_go_are_told(tmp_path: Path) -> None:
    folder = Folder([tmp_path])
    folder.load()
    async with watching(folder) as seen:
        (tmp_path / "sub").mkdir()
        (tmp_path / "sub" / "a.yaml").write_text(thing("a"))
        await until(lambda: seen == [("a.yaml", "a=1")])
        (tmp_path / "sub" / "a.yaml").write_text(thing("a", 2))
        await until(lambda: seen[1:] == [("a.yaml", "a=2")])
        (tmp_path / "sub" / "a.yaml").unlink()
        await until(lambda: seen[2:] == [("a.yaml", "gone")])


async def test_an_editor_that_writes_aside_and_renames_is_one_change(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(thing("a"))
    folder = Folder([tmp_path])
    folder.load()
    async with watching(folder) as seen:
        for value in range(2, 6):
            (tmp_path / ".a.yaml.tmp").write_text(thing("a", value))
            (tmp_path / ".a.yaml.tmp").replace(tmp_path / "a.yaml")
            await until(lambda value=value: seen[-1:] == [("a.yaml", f"a={value}")])  # type: ignore[misc]  # a default binds it
        assert len(await settled(folder, tmp_path, seen)) == 4


async def test_a_named_file_is_followed_through_renames(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(thing("a"))
    folder = Folder([tmp_path / "a.yaml"])
    folder.load()
    async with watching(folder) as seen:
        for value in (2, 3):
            (tmp_path / "new").write_text(thing("a", value))
            (tmp_path / "new").replace(tmp_path / "a.yaml")
            await until(lambda value=value: seen[-1:] == [("a.yaml", f"a={value}")])  # type: ignore[misc]  # a default binds it


@pytest.mark.parametrize("away", ["emptied", "removed"])
async def test_a_file_that_is_away_for_a_moment_while_it_is_saved_was_never_away(
    tmp_path: Path, away: str
) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(thing("a"))
    folder = Folder([tmp_path])
    folder.load()
    async with watching(folder) as seen:
        if away == "emptied":
            file.write_text("")
        else:
            file.rename(tmp_path / "a.yaml~")
        await until(lambda: str(file) in folder._doubtful)
        file.write_text(thing("a", 2))
        assert await settled(folder, tmp_path, seen) == [("a.yaml", "a=2")]


async def test_a_file_that_stays_empty_says_nothing_any_more(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(thing("a"))
    folder = Folder([tmp_path])
    folder.load()
    async with watching(folder) as seen:
        (tmp_path / "a.yaml").write_text("")
        await until(lambda: seen == [("a.yaml", "")])


async def test_a_folder_that_is_replaced_is_watched_again(tmp_path: Path) -> None:
    mesh, other = tmp_path / "mesh", tmp_path / "other"
    for directory, value in ((mesh, 1), (other, 2)):
        directory.mkdir()
        (directory / "a.yaml").write_text(thing("a", value))
        (directory / "b.yaml").write_text(thing("b"))
    folder = Folder([mesh])
    folder.load()
    async with watching(folder) as seen:
        mesh.rename(tmp_path / "old")
        other.rename(mesh)
        await until(lambda: seen == [("a.yaml", "a=2")])
        (mesh / "b.yaml").write_text(thing("b", 3))
        await until(lambda: seen[1:] == [("b.yaml", "b=3")])


async def test_a_folder_that_is_gone_and_comes_back_is_followed(tmp_path: Path) -> None:
    mesh = tmp_path / "mesh"
    mesh.mkdir()
    (mesh / "a.yaml").write_text(thing("a"))
    folder = Folder([mesh])
    folder.load()
    async with watching(folder) as seen:
        mesh.rename(tmp_path / "old")
        await until(lambda: seen == [("a.yaml", "gone")])
        mesh.mkdir()
        (mesh / "a.yaml").write_text(thing("a", 4))
        await until(lambda: seen[1:] == [("a.yaml", "a=4")])


async def test_a_link_that_is_turned_elsewhere_is_a_change(tmp_path: Path) -> None:
    """As Kubernetes mounts a ConfigMap: links into a hidden folder, itself a link that is swapped."""
    mesh = tmp_path / "mesh"
    for version in (1, 2):
        (mesh / f"..v{version}").mkdir(parents=True)
        (mesh / f"..v{version}" / "a.yaml").write_text(thing("a", version))
    (mesh / "..data").symlink_to("..v1")
    (mesh / "a.yaml").symlink_to("..data/a.yaml")
    folder = Folder([mesh])
    assert [brief(change) for change in folder.load()] == [("a.yaml", "a=1")]
    async with watching(folder) as seen:
        (mesh / "..next").symlink_to("..v2")
        (mesh / "..next").replace(mesh / "..data")
        await until(lambda: seen == [("a.yaml", "a=2")])


async def test_without_a_watcher_changes_are_still_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(*paths: Path, **options: object) -> object:
        raise OSError("no space left: too many watches")

    monkeypatch.setattr("plait.sources.files.folder.awatch", none_left)
    (tmp_path / "a.yaml").write_text(thing("a"))
    folder = Folder([tmp_path])
    folder.load()
    async with watching(folder) as seen:
        (tmp_path / "a.yaml").write_text(thing("a", 2))
        await until(lambda: seen == [("a.yaml", "a=2")])


async def test_a_watch_ends_when_it_is_told_to(tmp_path: Path) -> None:
    stop = asyncio.Event()
    stop.set()
    assert [change async for change in Folder([tmp_path]).watch(stop)] == []


async def test_a_watch_that_is_cancelled_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(thing("a"))
    seen: list[Change] = []

    async def collect() -> None:
        async for change in Folder([tmp_path]).watch():
            seen.append(change)  # noqa: PERF401  each is seen as it comes

    task = asyncio.create_task(collect())
    await until(lambda: bool(seen))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asyncio.all_tasks() == {asyncio.current_task()}
