"""docs/fields.md says what the tests prove; `PLAIT_GOLDEN=write` writes it."""

import os

from tests.fields.table import FILE, table


def test_the_page_of_fields_is_what_the_tests_prove() -> None:
    if os.environ.get("PLAIT_GOLDEN") == "write":
        FILE.write_text(table())
    assert FILE.read_text() == table()
