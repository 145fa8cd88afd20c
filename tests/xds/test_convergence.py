"""Whatever is published, refused, delayed or cut off: every proxy ends with the latest, and never sees a gap."""

from collections import deque
from functools import lru_cache

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from plait.resource import Layers, Resource, Snapshot, Table
from plait.xds.messages import Response
from plait.xds.stream import Stream
from tests.xds.simulation import Envoy, is_bad
from tests.xds.talk import LETTERS, TYPES

CLUSTERS = ("A", "B", "C", "D")
ROUTES = ("P", "Q")
GOOD = st.sampled_from(["1", "2", "3"])
VERSIONS = st.sampled_from(["1", "2", "3", "1", "2", "3", "4!", "5?"])


def made(letter: str, name: str, version: str, named: str = "") -> Resource:
    return Resource(TYPES[letter], name, f"{named}{version}", named.encode(), b"")


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    """One that holds together: what is named exists."""
    runtime = made("t", "T", draw(VERSIONS))
    listeners = [made("l", "L", draw(VERSIONS))]
    routes = [
        made(
            "r", name, draw(VERSIONS), ",".join(sorted(draw(st.sets(st.sampled_from(CLUSTERS), max_size=3))))
        )
        for name in ROUTES
    ]
    scopes = [
        made("s", name, draw(VERSIONS), draw(st.sampled_from(ROUTES)))
        for name in sorted(draw(st.sets(st.sampled_from(["s", "t"]))))
    ]
    named = {name for route in routes for name in route.body.decode().split(",") if name}
    extra = draw(st.sets(st.sampled_from(CLUSTERS), max_size=2))
    clusters = [made("c", name, draw(VERSIONS)) for name in sorted(named | extra)]
    endpoints = [made("e", one.name, draw(GOOD)) for one in clusters if draw(st.integers(0, 9))]
    shared: dict[str, list[Resource]] = {}
    own: dict[str, dict[str, Resource]] = {}
    for one in (runtime, *clusters, *endpoints, *listeners, *scopes, *routes):
        if draw(st.integers(0, 3)):
            shared.setdefault(one.type_url, []).append(one)
        else:
            own.setdefault(one.type_url, {})[one.name] = one
    return {
        type_url: Layers(table(tuple(shared.get(type_url, ()))), own.get(type_url, {}))
        for type_url in (*shared, *own)
    }


@lru_cache(maxsize=1000)
def table(resources: tuple[Resource, ...]) -> Table:
    """The very same for the same resources, as a renderer has it."""
    return Table.of(resources)


class Mesh(RuleBasedStateMachine):
    """A stream and a simulated Envoy with a wire between them on which messages take their time."""

    @initialize(snapshot=snapshots())
    def start(self, snapshot: Snapshot) -> None:
        self.generation = 1
        self.snapshot = snapshot
        self.envoy = Envoy()
        self._connect()

    def _connect(self) -> None:
        self.stream = Stream(self.snapshot, self.generation)
        self.wire: deque[Response] = deque()
        self.unanswered: dict[str, str] = {}
        self.envoy.connect()

    @rule(snapshot=snapshots())
    def publish(self, snapshot: Snapshot) -> None:
        self.generation += 1
        self.snapshot = snapshot
        self.stream.publish(snapshot, self.generation)

    @rule()
    def reconnect(self) -> None:
        self._connect()

    @rule(count=st.integers(1, 4))
    def speak(self, count: int) -> None:
        for _ in range(count):
            response = self.stream.pull(0.0)
            if response is None:
                return
            letter = LETTERS[response.type_url]
            assert letter not in self.unanswered, f"two responses of {letter} are out"
            self.unanswered[letter] = response.nonce
            self.wire.append(response)

    @precondition(lambda self: self.wire)
    @rule()
    def hear(self) -> None:
        self.envoy.receive(self.wire.popleft())

    @precondition(lambda self: self.envoy.out)
    @rule()
    def listen(self) -> None:
        request = self.envoy.out.popleft()
        letter = LETTERS[request.type_url]
        if request.nonce and self.unanswered.get(letter) == request.nonce:
            del self.unanswered[letter]
        self.stream.receive(request, 0.0)

    @rule()
    def settle(self) -> None:
        """Let everything be said; the proxy then has the latest, but for what it refuses."""
        for _ in range(1000):
            self.speak(9)
            if self.wire:
                self.hear()
            elif self.envoy.out:
                self.listen()
            elif self.envoy.warming:
                self.envoy.time_out()
            else:
                break
        else:
            raise AssertionError("it never comes to rest")
        assert not self.unanswered
        assert self.stream.synced(self.generation)
        self._check_latest()

    def _check_latest(self) -> None:
        wanted = {letter: self.snapshot.get(TYPES[letter], {}) for letter in "tcelsr"}
        applied = self.envoy.applied
        for letter in sorted(self.envoy.asked):
            known = self.envoy.subscribed.get(letter, wanted[letter].keys())
            for name in known & wanted[letter].keys():
                resource = wanted[letter][name]
                if is_bad(resource):
                    assert applied[letter].get(name) != resource
                else:
                    assert applied[letter].get(name) == resource, f"{letter} {name}"
        refused = {(LETTERS[one.resource.type_url], one.resource.name) for one in self.stream.rejections()}
        for letter in sorted(self.envoy.asked - {"e", "r"}):
            bad = {(letter, name) for name, one in wanted[letter].items() if is_bad(one)}
            assert refused & {(letter, name) for name in CLUSTERS + ROUTES + ("T", "L", "s", "t")} == bad
        if not any(letter in "lsr" for letter, _ in refused) and "s" in self.envoy.asked:
            assert applied["c"].keys() <= wanted["c"].keys(), "what is gone is removed"
            assert applied["s"].keys() <= wanted["s"].keys()

    def teardown(self) -> None:
        if hasattr(self, "stream"):
            self.settle()
            self.reconnect()
            before = {letter: dict(one) for letter, one in self.envoy.applied.items()}
            self.settle()
            assert self.envoy.applied == before, "coming back changes nothing"


TestMesh = Mesh.TestCase
TestMesh.settings = settings(
    max_examples=150,
    stateful_step_count=40,
    deadline=None,
    phases=[Phase.reuse, Phase.generate, Phase.shrink],  # explaining takes minutes of tracing
)
