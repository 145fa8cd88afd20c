"""The message classes are those of the Envoy that runs."""

import gzip
import importlib.util
from importlib.resources import files
from pathlib import Path


def test_the_shipped_descriptors_are_those_of_the_installed_envoy() -> None:
    tool = Path(__file__).parent.parent.parent / "tools" / "envoy_descriptors.py"
    spec = importlib.util.spec_from_file_location("envoy_descriptors", tool)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    shipped = files("plait.envoy").joinpath("descriptors.binpb.gz").read_bytes()
    assert gzip.decompress(shipped) == gzip.decompress(module.extract())
