"""The zip holds all that the functions import, beside what Lambda's runtime has."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from fifo_cli.model.settings import load
from fifo_cli.operations.deploy.package import build_zips

# What Lambda's Python runtimes bring along: boto3 and what it needs.
RUNTIME = ("boto3", "botocore", "s3transfer", "dateutil", "six", "urllib3")
CONFIG = """
[pipeline]
name = "orders"
[table]
name = "orders"
[api]
url = "https://api.example.com/"
headers = { Authorization = "{k}" }
keys = { k = "/k" }
"""


@pytest.mark.parametrize("function", ["enqueuer", "worker"])
def test_the_handler_is_imported_and_finds_its_settings_without_this_installation(
    tmp_path: Path, function: str
):
    (tmp_path / "fifo.toml").write_text(CONFIG)
    zips = {made.role: made for made in build_zips(load(tmp_path / "fifo.toml"), here=True)}
    code, runtime = tmp_path / "code", tmp_path / "runtime"
    (tmp_path / "made.zip").write_bytes(zips[function].data)  # type: ignore[index]
    with zipfile.ZipFile(tmp_path / "made.zip") as made:
        made.extractall(code)
    runtime.mkdir()
    for name in RUNTIME:
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        origin = Path(spec.origin)
        source = origin.parent if origin.name == "__init__.py" else origin
        (runtime / source.name).symlink_to(source)
    script = f"""
import sys
sys.path[:0] = [{str(code)!r}, {str(runtime)!r}]
import fifo_cli.handlers.{function} as module
import fifo_cli.handlers.runtime as settings
import httpx, jmespath
assert module.__file__.startswith({str(code)!r}), module.__file__
assert httpx.__file__.startswith({str(code)!r}), httpx.__file__
httpx.Client().close()
print(settings.load().pipeline, callable(module.handler))
"""
    ran = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=False, env={}
    )
    assert (ran.stdout, ran.stderr) == ("orders True\n", "")
