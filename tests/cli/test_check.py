"""plait check: what is wrong, where, and as JSON what is to be done about it."""

import json
from pathlib import Path

import typer
from typer.testing import CliRunner, Result

from plait.cli import check
from plait.model.remedies import REMEDIES

WRITTEN = """\
apiVersion: v1
kind: Service
metadata: {name: menu, namespace: shop}
spec:
  selector: {app: menu}
  ports: [{name: http, port: 80}]
"""


def ran(*arguments: str) -> Result:
    app = typer.Typer()
    check.register(app)
    return CliRunner().invoke(app, [*arguments])


def test_json_has_the_remedy_and_text_has_not(tmp_path: Path) -> None:
    file = tmp_path / "menu.yaml"
    file.write_text(WRITTEN)
    (found,) = json.loads(ran(str(file), "--output", "json").stdout)["findings"]
    code = "service.no-workloads"
    assert (found["code"], found["file"], found["remedy"]) == (code, str(file), REMEDIES[code])
    told = ran(str(file))
    assert told.exit_code == 0
    assert f"[{code}]" in told.stdout
    assert REMEDIES[code] not in told.stdout
