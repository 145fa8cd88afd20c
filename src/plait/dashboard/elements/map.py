"""The map in the browser, which is sent what has changed of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from nicegui.element import Element

from plait.dashboard.map.drawing import Drawing, Said

_KINDS = ("nodes", "edges", "places", "routes", "frames")


class Map(Element, component="map.js"):
    """Tells `choose` (the key of a node or an edge, "" of none) and `toggle` (a namespace); `label` is its own name."""

    def __init__(self, *, label: str) -> None:
        super().__init__()
        self._shown: Mapping[str, Mapping[str, Said]] = {kind: {} for kind in _KINDS}
        self._marked: dict[str, object] = {}
        self._begun = False
        self._props["label"] = label

    def show(
        self, drawing: Drawing, *, at: str, path: Collection[str] | None, empty: str
    ) -> Mapping[str, object]:
        """Have this; `path` are the keys of the one trace that is followed, `empty` is said where there is nothing.

        What had to be sent is answered: nothing of what is as it was.
        """
        now: dict[str, Mapping[str, Said]] = {kind: getattr(drawing, kind) for kind in _KINDS}
        marked: dict[str, object] = {
            "at": at,
            "path": None if path is None else sorted(path),
            "empty": empty,
            "crowded": drawing.crowded,
        }
        if not self._begun:  # this is in the page itself
            self._props["whole"] = now | marked
            change: dict[str, object] = {}
        else:
            change = changes(self._shown, now)
            change |= {name: one for name, one in marked.items() if one != self._marked[name]}
            if change:
                _ = self.run_method("apply", change)
        self._begun, self._shown, self._marked = True, now, marked
        return change


def changes(
    before: Mapping[str, Mapping[str, Said]], now: Mapping[str, Mapping[str, Said]]
) -> dict[str, object]:
    """What is new or another, by kind and key, and under `gone` the keys of what is no more.

    Of what was there before only the fields that are another are told; one that it has no more is None.
    """
    change: dict[str, object] = {}
    gone: dict[str, list[str]] = {}
    for kind, some in now.items():
        was = before[kind]
        if new := {key: _other(was.get(key, {}), one) for key, one in some.items() if was.get(key) != one}:
            change[kind] = new
        if lost := [key for key in was if key not in some]:
            gone[kind] = lost
    return {**change, "gone": gone} if gone else change


def _other(was: Said, now: Said) -> Said:
    other = {name: value for name, value in now.items() if name not in was or was[name] != value}
    return other | {name: None for name in was if name not in now}
