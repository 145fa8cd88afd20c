"""The lists of gateways in a VirtualService: of them, only the sidecars (`mesh`) are here."""

from __future__ import annotations

from plait.model.document import Cursor

MESH = "mesh"


def reaches_mesh(cursor: Cursor) -> bool:
    """Whether what is said holds for sidecars; a warning names the gateways for which nothing is done yet."""
    names = cursor.strings()
    if not cursor.present or cursor.error_count():
        return not cursor.error_count()
    others = [name for name in names if name != MESH]
    if others:
        effect = "only sidecars are" if MESH in names else "this has no effect: add 'mesh' for sidecars"
        message = f"Plait does not honour the gateways {', '.join(others)[:200]} yet; {effect}"
        cursor.warn("gateway.unsupported", message)
    return MESH in names or not names
