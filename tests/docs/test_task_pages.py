"""How a page of docs/tasks is read, and that nothing but what it shows passes for it."""

from __future__ import annotations

import pytest

from tests.docs.tasks import Save, Type, agrees, steps

PAGE = """# A task

Save this as `bistro/task.yaml`:

```yaml
kind: VirtualService
```

With the Gateway API it is, in `bistro/task.yaml`:

```yaml
kind: HTTPRoute
```

```sh
plait exec bistro/frontend -- true
```

Nothing is shown.

```sh
plait logs bistro/frontend --tail 1
```

```text
...
```

Save this as `bistro/task.yaml`:

```yaml
kind: Sidecar
```
"""


def test_a_page_is_read_as_files_to_save_in_each_way_and_lines_to_type_with_what_they_show() -> None:
    assert steps(PAGE) == (
        Save(file="bistro/task.yaml", texts=("kind: VirtualService\n", "kind: HTTPRoute\n")),
        Type(script="plait exec bistro/frontend -- true\n"),
        Type(script="plait logs bistro/frontend --tail 1\n", shown="...\n"),
        Save(file="bistro/task.yaml", texts=("kind: Sidecar\n",)),
    )


@pytest.mark.parametrize(
    "page",
    [
        "No file is named.\n\n```yaml\na: 1\n```\n",
        "Nothing has shown this:\n\n```text\n40\n```\n",
        "```sh\ntrue\n```\n\n```text\n1\n```\n\n```text\n2\n```\n",
        "Who takes this?\n\n```json\n{}\n```\n",
        "Nor this:\n\n```\ntrue\n```\n",
    ],
)
def test_a_block_that_a_test_would_pass_over_is_an_error(page: str) -> None:
    with pytest.raises(ValueError, match=r"neither saved|not said"):
        steps(page)


@pytest.mark.parametrize(
    ("shown", "seen"),
    [
        ("40 v1", "     40 v1\n"),
        ("155-197 v1\n3-45 v2", "197 v1\n3 v2\n"),
        ("200 0.7-9.9", "200 0.712345\n"),
        ('{... "version": "v2"}', '{"service": "x", "version": "v2"}\n'),
        ("first\n...", "first\nsecond\nthird\n"),
        ("first\n...", "first\n"),
        ("127-x is no range", "127-x is no range"),
    ],
)
def test_what_a_page_shows_is_seen(shown: str, seen: str) -> None:
    assert agrees(shown, seen)


@pytest.mark.parametrize(
    ("shown", "seen"),
    [
        ("40 v1", "39 v1\n"),
        ("40 v1", "40 v1\n1 v2\n"),
        ("40 v1\n1 v2", "40 v1\n"),
        ("3-45 v2", "46 v2\n"),
        ("3-45 v2", "2 v2\n"),
        ("200 0.7-9.9", "200 0.699999\n"),
        ('{... "version": "v2"}', '{"service": "x", "version": "v1"}\n'),
        ("first\n...", "second\nfirst\n"),
        ("", "something\n"),
    ],
)
def test_what_a_page_does_not_show_is_not_passed_over(shown: str, seen: str) -> None:
    assert not agrees(shown, seen)
