"""Where a shim starts: `python -I -S .../plait/agent/shim/__main__.py replica.json`, without site-packages.

Python is told to look at nothing but its own library (-I -S), so this file says where the package `plait` lies.
"""

import sys


def _main() -> int:
    root = __file__
    for _ in range(4):  # plait/agent/shim/__main__.py
        root = root.rpartition("/")[0]
    sys.path.append(root)
    from plait.agent.shim.entry import main  # noqa: PLC0415 - only findable from here on

    return main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(_main())
