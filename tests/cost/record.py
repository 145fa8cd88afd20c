"""Measure, write bounds.toml anew, and say what became different: `make bounds`."""

from __future__ import annotations

import sys

from tests.cost.bounds import FILE, differing, load, measured, renewed, save


def main() -> None:
    before = load() if FILE.exists() else {}
    bounds = renewed(measured(), before)
    save(bounds)
    for name, (now, old) in differing(bounds, before).items():
        sys.stdout.write(f"{name}: {'-' if old is None else old} -> {'-' if now is None else now}\n")


if __name__ == "__main__":
    main()
