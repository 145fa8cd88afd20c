"""AlertProvider: somebody who is told what happens to rollouts.

One that can't be read whole is left out: what happens is never told to somebody else than was meant.
"""

from __future__ import annotations

from plait.dialects import fields
from plait.dialects.flagger.shared import GROUP, VERSIONS, address, no_secret
from plait.dialects.kind import Kind, Subject
from plait.model.document import Cursor
from plait.model.reading import Fact
from plait.model.rollout import AlertProvider

TYPES = ("slack", "msteams", "discord", "generic")
_SHOWN = 80


def read(root: Cursor, subject: Subject) -> tuple[Fact, ...]:
    spec = root.at("spec")
    no_secret(spec, "write the address here, in a file that only you may read")
    found = AlertProvider(
        namespace=subject.namespace,
        name=subject.name,
        type=_type(spec.at("type")),
        address=address(spec.at("address")),
        channel=spec.at("channel").text(),
        username=spec.at("username").text(),
        origin=subject.origin(root),
    )
    if spec.error_count() or fields.has_unknown(spec, ALERT_PROVIDER):
        spec.error("alert.left-out", "it can't be read whole, so nothing is told to it")
        return ()
    return (found,)


def _type(cursor: Cursor) -> str:
    text = cursor.text()
    if not text and not cursor.error_count():
        cursor.error("field.required", f"a type is missing: one of {', '.join(TYPES)}")
    elif text and text not in TYPES:
        cursor.error("alert.type", f"{text[:_SHOWN]!r} can't be told: {', '.join(TYPES)} can")
    return text


ALERT_PROVIDER = Kind(
    group=GROUP, name="AlertProvider", versions=VERSIONS, read=read, unsupported=("spec.proxy",)
)
