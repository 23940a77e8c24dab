"""The report page of prove in a real browser: it obeys its own policy, and fits a phone and a desk."""

from __future__ import annotations

import html
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from fifo_cli.render.prove_page import prove_page
from tests.unit.render.prove_sample import in_trouble

SCROLLBAR = 15  # pixels


def opened(folder: Path, page: str) -> subprocess.CompletedProcess[str]:
    """Open a page in a headless Chromium; stdout is the document, stderr what its console says."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium is installed")
    file = folder / "page.html"
    file.write_text(page, encoding="utf-8")
    # Chromium makes a socket there, whose path may have 107 bytes.
    temporary = tempfile.mkdtemp(prefix="b-")
    command = [
        browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        f"--user-data-dir={folder}/profile", "--enable-logging=stderr", "--dump-dom", file.as_uri(),
    ]  # fmt: skip
    try:
        environment = {**os.environ, "HOME": str(folder), "TMPDIR": temporary}
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=60, check=True
        )
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def test_its_own_policy_lets_its_style_and_nothing_else_through(tmp_path: Path) -> None:
    page = prove_page(in_trouble())
    ran = opened(tmp_path, page)
    assert "1 check failed" in ran.stdout
    assert "CONSOLE" not in ran.stderr
    meddled = opened(tmp_path, page.replace("</main>", "<p style='color:red'><script>1</script></p></main>"))
    assert len(re.findall("CONSOLE.*violates", meddled.stderr)) == 2
    assert "<title>fifo-cli prove: " in meddled.stdout


@pytest.mark.parametrize("width", [380, 1280])
def test_nothing_is_wider_than_its_window(tmp_path: Path, width: int) -> None:
    page = html.escape(prove_page(in_trouble()))
    script = "document.title = document.querySelector('iframe').contentDocument.documentElement.scrollWidth"
    frame = f'<iframe style="border:0" width="{width}" height="900" srcdoc="{page}"></iframe>'
    ran = opened(tmp_path, f"<body>{frame}<script>onload = () => {{ {script} }}</script></body>")
    assert re.findall("<title>(.*?)</title>", ran.stdout)[0] in {f"{width}", f"{width - SCROLLBAR}"}
