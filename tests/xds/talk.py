"""A conversation with one stream, in a notation that reads at a glance.

A snapshot is `"c:A@1 e:A@1 r:R@2"`: type letter, name, version.  What a proxy says of names is `"+A -B C@1"`:
subscribe, unsubscribe, "I have".  What it hears is a list such as `["c +A@1 +B@1", "e -B", "l"]`.
"""

from plait.resource import (
    CLUSTER,
    ENDPOINTS,
    EXTENSION,
    LISTENER,
    ROUTES,
    RUNTIME,
    SCOPED_ROUTES,
    Resource,
    Snapshot,
)
from plait.xds.messages import Event, Request, Response
from plait.xds.stream import Stream

TYPES = {
    "t": RUNTIME,
    "c": CLUSTER,
    "e": ENDPOINTS,
    "a": EXTENSION,
    "l": LISTENER,
    "s": SCOPED_ROUTES,
    "r": ROUTES,
    "x": "type/unknown",
}
LETTERS = {type_url: letter for letter, type_url in TYPES.items()}


def resource(text: str) -> Resource:
    letter, _, rest = text.partition(":")
    name, _, version = rest.partition("@")
    return Resource(TYPES[letter], name, version, body=text.encode(), framed=text.encode())


def snapshot(text: str) -> Snapshot:
    result: dict[str, dict[str, Resource]] = {}
    for word in text.split():
        one = resource(word)
        result.setdefault(one.type_url, {})[one.name] = one
    return result


def request(letter: str, words: str = "", nonce: str = "", error: str | None = None) -> Request:
    split = words.split()
    return Request(
        type_url=TYPES[letter],
        subscribe=tuple(word[1:] for word in split if word[0] == "+"),
        unsubscribe=tuple(word[1:] for word in split if word[0] == "-"),
        versions={word.partition("@")[0]: word.partition("@")[2] for word in split if word[0] not in "+-"},
        nonce=nonce,
        error=error,
    )


def shown(response: Response) -> str:
    sent = (f"+{one.name}@{one.version}" for one in response.resources)
    gone = (f"-{name}" for name in response.removed)
    return " ".join((LETTERS[response.type_url], *sent, *gone))


class Talk:
    def __init__(self, text: str) -> None:
        self.generation = 1
        self.now = 0.0
        self.stream = Stream(snapshot(text), 1)
        self.nonces: dict[str, str] = {}

    def publish(self, text: str) -> list[str]:
        self.generation += 1
        self.stream.publish(snapshot(text), self.generation)
        return self.hears()

    def says(self, letter: str, words: str = "", *, nonce: str = "", error: str | None = None) -> list[str]:
        self.tell(letter, words, nonce=nonce, error=error)
        return self.hears()

    def tell(
        self, letter: str, words: str = "", *, nonce: str = "", error: str | None = None
    ) -> Event | None:
        """Say something without listening yet."""
        return self.stream.receive(request(letter, words, nonce, error), self.now)

    def acks(self, letter: str, words: str = "") -> list[str]:
        return self.says(letter, words, nonce=self.nonces[letter])

    def nacks(self, letter: str, error: str) -> list[str]:
        return self.says(letter, nonce=self.nonces[letter], error=error)

    def hears(self) -> list[str]:
        heard = []
        while (response := self.stream.pull(self.now)) is not None:
            self.nonces[LETTERS[response.type_url]] = response.nonce
            heard.append(shown(response))
        return heard

    @property
    def synced(self) -> bool:
        return self.stream.synced(self.generation)

    def refused(self) -> list[str]:
        return [
            f"{LETTERS[one.resource.type_url]}:{one.resource.name}@{one.resource.version} {one.reason}"
            for one in self.stream.rejections()
        ]
