"""The guided tour: what to type, what will be seen, and why.

One list serves three readers: `demo.py` prints it, `demo.py --check` walks it, and a test holds the README's
tour to it.  The commands are typed in the demo's folder, where `bistro/` is the folder that the mesh watches.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the last command of a step showed.  `before` and `now` are the Envoys of this mesh, by process id."""

    output: str
    exit_code: int
    before: frozenset[int] = frozenset()
    now: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One stop of the tour.

    All commands but the last are typed once; the last may be repeated until `missing` finds nothing missing
    (""), for a change needs a moment to reach every Envoy.  `needs` are programs that must be installed.
    """

    title: str
    commands: tuple[str, ...]
    told: str
    missing: Callable[[Seen], str]
    needs: tuple[str, ...] = ("curl",)
    seconds: float = 30.0
    """How long a command may take."""


_TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"

WORKLOADS = ("diner", "frontend", "payments", "reservations-v1", "reservations-v2", "restaurants", "reviews")


def versions(output: str) -> dict[str, int]:
    """How often each version answered, from what `sort | uniq -c` shows."""
    found = re.findall(r"(\d+) \{.*\"version\": \"(v\d)\"", output)
    return {version: int(count) for count, version in found}


def all_ready(seen: Seen) -> str:
    lines = seen.output.splitlines()
    absent = [
        name
        for name in WORKLOADS
        if not any(re.search(rf"\b{name}\b(?!-).*\bready\b", line) for line in lines)
    ]
    return f"not ready: {', '.join(absent)}" if absent else ""


def _menu(seen: Seen) -> str:
    try:
        parts = json.loads(seen.output)
        who = [parts[name]["service"] for name in ("restaurants", "reviews", "reservations")]
    except (ValueError, KeyError, TypeError):
        return "no menu"
    return "" if who == ["restaurants", "reviews", "reservations"] else f"a menu made by {who}"


def _status(code: int) -> Callable[[Seen], str]:
    def missing(seen: Seen) -> str:
        return "" if re.match(rf"HTTP/1\.1 {code} ", seen.output) else f"an answer with status {code}"

    return missing


def _split(seen: Seen) -> str:
    """Of 200 requests some 20 go to v2; fewer than 3 or more than 45 would happen once in a million tours."""
    found = versions(seen.output)
    if sum(found.values()) != 200:
        return f"200 answers, instead of {sum(found.values())}"
    return "" if 3 <= found.get("v2", 0) <= 45 else "about one in ten by v2"


def _only(version: str, count: int) -> Callable[[Seen], str]:
    def missing(seen: Seen) -> str:
        return "" if versions(seen.output) == {version: count} else f"{count} answers, all by {version}"

    return missing


def _slow(seen: Seen) -> str:
    try:
        return "" if 0.8 <= float(seen.output) < 5 else "a wait of 0.8 seconds"
    except ValueError:
        return "a number of seconds"


def _finding(seen: Seen) -> str:
    if seen.exit_code != 1:
        return f"exit code 1, instead of {seen.exit_code}"
    return "" if re.search(r"routing\.yaml:\d+", seen.output) else "the file and the line"


def _none_failed(seen: Seen) -> str:
    found = re.search(r"(\d+) requests in all, (\d+) failed", seen.output)
    if not found or found[1] == "0":
        return "a line that counts requests"
    return "" if found[2] == "0" else "no failed request"


def _fresh_envoy(seen: Seen) -> str:
    if not seen.before - seen.now:
        return "one Envoy gone"
    if len(seen.now) != len(seen.before):
        return f"{len(seen.before)} Envoys again, instead of {len(seen.now)}"
    return all_ready(seen)


def _denied_by_name(seen: Seen) -> str:
    wanted = ("istio_requests_total", 'response_code="403"', "ns/bistro/sa/frontend")
    return ", ".join(text for text in wanted if text not in seen.output)


def _drawn(seen: Seen) -> str:
    wanted = ("bistro/diner", "─ frontend", "─ reservations v1", "─ restaurants", "─ reviews")
    return ", ".join(text for text in wanted if text not in seen.output)


def _traced(seen: Seen) -> str:
    wanted = ("frontend GET /menu", "restaurants GET", "reviews GET", "reservations GET")
    return ", ".join(text for text in wanted if text not in seen.output)


def _in_step(seen: Seen) -> str:
    absent = [name for name in WORKLOADS if name not in seen.output]
    return f"a line for {', '.join(absent)}" if absent else ""


def _undone(seen: Seen) -> str:
    wanted = ("20 % of the traffic go to the new version", "Failed; rolled back: request-success-rate")
    return ", ".join(text for text in wanted if text not in seen.output)


def _compiled(seen: Seen) -> str:
    wanted = (
        "outbound|8080||restaurants.bistro.svc.cluster.local",
        "outbound|8080|v1|reservations.bistro.svc.cluster.local",
        "outbound|8080|v2|reservations.bistro.svc.cluster.local",
    )
    return ", ".join(name for name in wanted if name not in seen.output)


TOUR = (
    Step(
        title="Who is there",
        commands=("plait status",),
        told="Seven workloads, each a process with an Envoy of its own, an address of its own, and an identity: "
        "a certificate that says which service account it runs as, and when it ends.",
        missing=all_ready,
        needs=(),
    ),
    Step(
        title="A request through the mesh",
        commands=("plait exec bistro/diner -- curl -s http://frontend:8080/menu",),
        told="The menu, gathered from three services.  `plait exec` runs a command in a workload's place: curl "
        "speaks to the diner's Envoy, that one over mutual TLS to the frontend's, and so on for each call.",
        missing=_menu,
    ),
    Step(
        title="A call that nobody allowed",
        commands=("plait exec bistro/frontend -- curl -si http://payments:8080/",),
        told="403.  bistro/policies.yaml allows nothing, and then, one by one, who may call whom; the frontend "
        "calling payments is not among it.  The Envoy of payments knows the caller by its certificate.",
        missing=_status(403),
    ),
    Step(
        title="Allow it",
        commands=(
            "cp more/allow-frontend-to-payments.yaml bistro/",
            "plait exec bistro/frontend -- curl -si http://payments:8080/",
        ),
        told="200.  The folder is watched: a saved file is in force at every Envoy that it concerns a moment later.",
        missing=_status(200),
    ),
    Step(
        title="And forbid it again",
        commands=(
            "rm bistro/allow-frontend-to-payments.yaml",
            "plait exec bistro/frontend -- curl -si http://payments:8080/",
        ),
        told="403: a rule goes with the file that says it.",
        missing=_status(403),
    ),
    Step(
        title="Two versions, side by side",
        commands=(
            "plait exec bistro/frontend -- curl -s 'http://reservations:8080/?n=[1-200]' | sort | uniq -c",
        ),
        told="200 requests, about 180 answered by v1 and 20 by v2: the weights in bistro/routing.yaml.",
        missing=_split,
    ),
    Step(
        title="Testers get the new one",
        commands=(
            (
                "plait exec bistro/frontend -- curl -s -H 'x-user: tester' 'http://reservations:8080/?n=[1-20]'"
                " | sort | uniq -c"
            ),
        ),
        told="v2 alone, for routing.yaml sends requests with this header there; `?beta=1` does the same.",
        missing=_only("v2", 20),
    ),
    Step(
        title="Move everybody to v2",
        commands=(
            "sed -i.before 's/weight: 90/weight: 0/; s/weight: 10$/weight: 100/' bistro/routing.yaml",
            "plait exec bistro/frontend -- curl -s 'http://reservations:8080/?n=[1-20]' | sort | uniq -c",
        ),
        told="v2 alone.  (An editor does as well as sed: the weights stand at the end of the file.)",
        missing=_only("v2", 20),
    ),
    Step(
        title="Break a file",
        commands=("echo '  oops: [' >> bistro/routing.yaml", "plait check bistro"),
        told="A Finding: the file, the line and the reason, and exit code 1 for scripts.  The terminal of the "
        "demo reports it too.  Nothing breaks: what the file said before stays in force.",
        missing=_finding,
        needs=(),
    ),
    Step(
        title="Mend it",
        commands=(
            "mv bistro/routing.yaml.before bistro/routing.yaml",
            "plait exec bistro/frontend -- curl -s 'http://reservations:8080/?n=[1-200]' | sort | uniq -c",
        ),
        told="The file as it was, and nine in ten by v1 again.",
        missing=_split,
    ),
    Step(
        title="What it cost",
        commands=("plait logs bistro/diner | tail -n 1",),
        told="The diner asks the frontend 20 times a second and counts: no request failed over all these changes.",
        missing=_none_failed,
        needs=(),
    ),
    Step(
        title="One slow service",
        commands=(
            (
                "plait exec bistro/diner -- curl -s -o /dev/null -w '%{time_total}\\n' -H 'x-slow: reviews=800'"
                " http://frontend:8080/menu"
            ),
        ),
        told="0.8 seconds and a little.  The services pass this header on with those of a trace, so that it "
        "reaches reviews behind the frontend; `x-fail: reviews=50` makes every second request there fail.",
        missing=_slow,
    ),
    Step(
        title="Numbers, from the Envoys",
        commands=(
            (
                "plait exec bistro/payments -- sh -c"
                ' \'curl -s --noproxy "*" "http://$PLAIT_SIDECAR:15090/stats/prometheus"\''
                " | grep istio_requests_total | grep 403"
            ),
        ),
        told="The requests that payments refused a moment ago, with who asked.  Every sidecar serves metrics "
        "at its own address, port 15090, under the names that Istio uses.",
        missing=_denied_by_name,
    ),
    Step(
        title="The map",
        commands=("plait map",),
        told="Who calls whom, how often, how well and how fast, as the Envoys counted it in the past minute; what "
        "was refused is there too, and a lock is mutual TLS.  `plait top` is the same as a table, and "
        "`plait tap --to bistro/payments` shows requests as they come.",
        missing=_drawn,
        needs=(),
    ),
    Step(
        title="One request, through all of them",
        commands=(
            (
                f"plait exec bistro/diner -- curl -s -o /dev/null -H 'traceparent: 00-{_TRACE}-00f067aa0ba902b7-01'"
                " http://frontend:8080/menu"
            ),
            f"plait trace {_TRACE[:6]}",
        ),
        told="A trace: who called whom for this one menu, and how long each took.  Of requests that nobody has decided "
        "about one in a hundred is traced; this one asked for it.",
        missing=_traced,
    ),
    Step(
        title="Kill an Envoy",
        commands=(
            'pkill -KILL -f "$PLAIT_STATE_DIR/.* bistro/reviews/"',
            "plait status",
        ),
        told="All ready again, within two seconds, by a new Envoy for reviews; the shim, parent of both Envoy and "
        "application, has seen to it.  Requests that were inside the old one are lost: "
        "the diner's log says how many.",
        missing=_fresh_envoy,
        needs=("pkill",),
    ),
    Step(
        title="What each Envoy has been told",
        commands=("plait proxies",),
        told="For each proxy and each kind of resource: what was sent, what was acknowledged, and how long it took.",
        missing=_in_step,
        needs=(),
    ),
    Step(
        title="The same, without a mesh",
        commands=(
            'plait compile bistro --proxy bistro/frontend | grep -o \'"outbound|8080[^"]*"\' | sort -u',
        ),
        told="The clusters that the frontend may send to.  Without the grep: the whole configuration as Envoy "
        "reads it, and the object and field behind each resource.",
        missing=_compiled,
        needs=(),
    ),
    Step(
        title="A release that goes wrong",
        commands=(
            "cp more/canary.yaml bistro/",
            """sed -i.before 's/"python3"/"env", "FAIL_PERCENT=33", "python3"/' bistro/reviews.yaml""",
            "plait canary watch bistro/reviews",
        ),
        told="A new version of reviews starts beside the old one and gets 20 % of the requests, of which a third "
        "fail.  Two looks, five seconds apart, and it is gone, by itself: the old one has all of them again.  "
        "`plait canary history bistro/reviews` tells it once more.",
        missing=_undone,
        needs=(),
        seconds=90.0,
    ),
)
