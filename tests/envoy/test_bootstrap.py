"""The bootstrap file and the secret files: plain values, made without Envoy's message classes."""

import json
import subprocess
import sys

from plait.envoy.secrets import identity_secret, roots_secret


def test_agents_make_both_without_loading_message_classes() -> None:
    program = (
        "import sys; import plait.envoy.bootstrap, plait.envoy.secrets; "
        "print([name for name in sys.modules if name.startswith(('google', 'grpc', 'yaml', 'cryptography'))])"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_a_secret_file_holds_one_secret_by_the_name_that_resources_ask_for() -> None:
    (identity,) = json.loads(identity_secret("CHAIN", "KEY"))["resources"]
    (roots,) = json.loads(roots_secret("ROOTS"))["resources"]
    assert (identity["name"], roots["name"]) == ("identity", "roots")
    assert identity["tls_certificate"]["private_key"] == {"inline_string": "KEY"}
    assert roots["validation_context"]["trusted_ca"] == {"inline_string": "ROOTS"}
