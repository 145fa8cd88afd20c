"""An Envoy that follows the protocol as 1.40 was seen to follow it, and checks what it is told.

What a resource names is written in its body, as `"A,B"`; a version that ends in `!` is refused by its name,
one that ends in `?` without a word about whose fault it is.
"""

from collections import deque

from plait.resource import Resource
from plait.xds.messages import Request, Response
from tests.xds.talk import LETTERS, TYPES


def is_bad(resource: Resource) -> bool:
    return resource.version[-1] in "!?"


def named_by(resource: Resource) -> list[str]:
    return [name for name in resource.body.decode().split(",") if name]


class Envoy:
    def __init__(self) -> None:
        self.applied: dict[str, dict[str, Resource]] = {letter: {} for letter in "tcelsr"}
        self.noted: dict[str, dict[str, str]] = {letter: {} for letter in "tcelsr"}
        """Versions that it tells when it comes back: those of responses that it took as a whole."""
        self.unsure: set[tuple[str, str]] = set()
        self.warming: dict[str, Resource] = {}
        self.reminded: set[str] = set()
        self.subscribed: dict[str, set[str]] = {"t": {"T"}, "e": set(), "r": set()}
        self.asked: set[str] = set()
        self.withheld: Request | None = None
        self.out: deque[Request] = deque()

    def connect(self) -> None:
        """Open a stream: everything that it asks for is said anew, and what it has.

        Here the real one is less honest: of a rejected response that it took in part it tells the versions
        that it had before, so that one who takes the change back in that very moment is misled.
        """
        self.out.clear()
        self.withheld = None
        for letter, name in self.unsure:
            if name in self.applied[letter] or name in self.warming:
                self.noted[letter][name] = "unsure"
        self._ask("t")
        for letter in "celsr":
            if letter in self.asked and self.subscribed.get(letter, {"*"}):
                self._ask(letter)

    def time_out(self) -> None:
        """Endpoints did not come in time: take them from the cache, or go without."""
        for name in list(self.warming):
            self._warm(name)
        self._release()

    def receive(self, response: Response) -> None:
        letter = LETTERS[response.type_url]
        for resource in response.resources:
            self._check_news(letter, resource)
        bad = [resource for resource in response.resources if is_bad(resource)]
        getattr(self, f"_take_{letter}")(response, bad)
        for name in response.removed:
            self.noted[letter].pop(name, None)
            self.unsure.discard((letter, name))
        names = {resource.name: resource.version for resource in response.resources}
        error = self._reason(letter, bad) if bad else None
        if error is None:
            self.noted[letter].update(names)
            self.unsure -= {(letter, name) for name in names}
        else:
            self.unsure |= {(letter, name) for name in names}
        answer = Request(type_url=response.type_url, nonce=response.nonce, error=error)
        if letter == "c" and self.warming and "l" in self.asked:
            self.withheld = answer
        else:
            self.out.append(answer)
        self._release()

    def _check_news(self, letter: str, resource: Resource) -> None:
        name = resource.name
        if letter == "e" and name in self.reminded:
            self.reminded.discard(name)
        elif (letter, name) not in self.unsure:
            assert self.noted[letter].get(name) != resource.version, f"sent again: {letter} {resource}"

    def _take_t(self, response: Response, bad: list[Resource]) -> None:
        self._put("t", [] if bad else response.resources)

    def _take_c(self, response: Response, bad: list[Resource]) -> None:
        if not any(one.version.endswith("?") for one in bad):
            for cluster in response.resources:
                self.reminded.add(cluster.name)
                known = self.warming.get(cluster.name) or self.applied["c"].get(cluster.name)
                if cluster in bad or known == cluster:
                    continue
                self.warming[cluster.name] = cluster
                self._subscribe("e", {cluster.name}, set())
        self.reminded |= {cluster.name for cluster in response.resources}
        for name in response.removed:
            users = [one.name for one in self.applied["r"].values() if name in named_by(one)]
            assert not users, f"cluster {name} is taken from {users}"
            self.applied["c"].pop(name, None)
            self.warming.pop(name, None)
            self.applied["e"].pop(name, None)
            self.noted["e"].pop(name, None)
            self._subscribe("e", set(), {name})

    def _take_e(self, response: Response, bad: list[Resource]) -> None:
        assert not bad
        for assignment in response.resources:
            self.applied["e"][assignment.name] = assignment
            self._warm(assignment.name)
        for name in response.removed:
            self._warm(name)

    def _take_l(self, response: Response, bad: list[Resource]) -> None:
        if not any(one.version.endswith("?") for one in bad):
            self._put("l", [one for one in response.resources if one not in bad])
        self._pull_out("l", response.removed)

    def _take_s(self, response: Response, bad: list[Resource]) -> None:
        self._put("s", [] if bad else response.resources)
        self._pull_out("s", response.removed)
        used = {name for scope in self.applied["s"].values() for name in named_by(scope)}
        gone = self.subscribed["r"] - used
        self._subscribe("r", used - self.subscribed["r"], gone)
        self._pull_out("r", gone)
        for name in gone:
            self.noted["r"].pop(name, None)

    def _take_r(self, response: Response, bad: list[Resource]) -> None:
        taken = []
        for route in response.resources:
            if route in bad:
                break  # Envoy hands them out one by one, and stops at the first that is bad
            taken.append(route)
        for route in taken:
            for cluster in named_by(route):
                known = cluster in self.applied["c"] or ("c", cluster) in self.unsure
                assert known, f"route {route.name} came before cluster {cluster}"
        self._put("r", [one for one in taken if one.name in self.subscribed["r"]])

    def _put(self, letter: str, resources: tuple[Resource, ...] | list[Resource]) -> None:
        self.applied[letter].update({one.name: one for one in resources})

    def _pull_out(self, letter: str, names: tuple[str, ...] | set[str]) -> None:
        for name in names:
            self.applied[letter].pop(name, None)

    def _warm(self, name: str) -> None:
        if name in self.warming:
            self.applied["c"][name] = self.warming.pop(name)

    def _release(self) -> None:
        """Say what waited for clusters to be warm, and ask for what comes next in a start."""
        if self.warming:
            return
        if self.withheld is not None:
            self.out.append(self.withheld)
            self.withheld = None
        if self._has_answer("t"):
            self._ask_once("c")
        if "c" in self.asked and self._has_answer("c"):
            self._ask_once("l")
        if self.applied["l"]:
            self._ask_once("s")

    def _has_answer(self, letter: str) -> bool:
        return any(one.type_url == TYPES[letter] and one.nonce for one in self.out) or bool(
            self.noted[letter]
        )

    def _ask_once(self, letter: str) -> None:
        if letter not in self.asked:
            self._ask(letter)

    def _ask(self, letter: str) -> None:
        self.asked.add(letter)
        self.out.append(
            Request(
                type_url=TYPES[letter],
                subscribe=tuple(sorted(self.subscribed.get(letter, ()))),
                versions=dict(self.noted[letter]),
            )
        )

    def _subscribe(self, letter: str, more: set[str], less: set[str]) -> None:
        more, less = more - self.subscribed[letter], less & self.subscribed[letter]
        self.subscribed[letter] = (self.subscribed[letter] | more) - less
        if more or less:
            self.asked.add(letter)
            self.out.append(
                Request(
                    type_url=TYPES[letter],
                    subscribe=tuple(sorted(more)),
                    unsubscribe=tuple(sorted(less)),
                )
            )

    def _reason(self, letter: str, bad: list[Resource]) -> str:
        named = [one.name for one in bad if one.version.endswith("!")]
        if letter == "c" and named:
            return "Error adding/updating cluster(s) " + ", ".join(f"{name}: no" for name in named)
        return f"refused in {bad[0].name}" if bad[0].name in named else "refused"
