"""The zips: the same bytes for the same input, what is in them, and what is refused."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import boto3
import pytest

from fifo_cli.errors import ConfigError, UsageError
from fifo_cli.model import limits
from fifo_cli.model.settings import Project, load
from fifo_cli.operations.deploy.package import build_zips, package
from fifo_cli.operations.runtime_settings import runtime_settings

CONFIG = """
[pipeline]
name = "orders"
[table]
name = "items"
[api]
url = "https://api.example.com/orders"
"""
# The module that CODE names.
NAMED = "def to_message(item): return item\n"
CODE = '[handlers]\nsource = "code/"\nmessage = "orders:to_message"\n'


def project(folder: Path, more: str = "", **files: str) -> Project:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "fifo.toml").write_text(CONFIG + more)
    for name, text in files.items():
        path = folder / "code" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return load(folder / "fifo.toml")


def contents(made: Project, *, here: bool = True) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(build_zips(made, here=here)[0].data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_a_zip_holds_handlers_settings_and_their_libraries_and_no_more(tmp_path: Path) -> None:
    made = project(tmp_path)
    files = contents(made)
    assert {name.partition("/")[0] for name in files} >= {
        "fifo_cli",
        "httpx",
        "httpcore",
        "h11",
        "jmespath",
        "certifi",
    }
    assert {"boto3", "botocore", "pydantic", "rich", "typer"} & {
        name.partition("/")[0] for name in files
    } == set()
    ours = {name for name in files if name.startswith("fifo_cli/") and "/handlers/" not in name}
    assert ours == {"fifo_cli/__init__.py"}
    assert json.loads(files["fifo_cli/handlers/settings.json"]) == runtime_settings(made.settings)
    assert [
        name for name in files if "__pycache__" in name or ".dist-info" in name or name.endswith(".pyc")
    ] == []
    assert list(files) == sorted(files)


def test_both_handlers_can_be_imported_from_the_zip_alone(tmp_path: Path) -> None:
    path = package(project(tmp_path), here=True).zips[0].path
    code = (
        "import sys, boto3, fifo_cli.handlers.enqueuer as e, fifo_cli.handlers.worker as w, httpx, jmespath;"
        "print(e.handler.__name__, w.handler.__name__, httpx.__file__.startswith(sys.argv[1]))"
    )
    # boto3 is Lambda's, so it comes from here; all else must come from the zip.
    target = tmp_path / "task"
    zipfile.ZipFile(path).extractall(target)
    boto3_home = str(Path(boto3.__file__).parent.parent)
    ran = subprocess.run(
        [sys.executable, "-c", code, str(target)],
        env={"PYTHONPATH": os.pathsep.join([str(target), boto3_home]), "AWS_REGION": "eu-west-1"},
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert (ran.stdout.split(), ran.stderr) == (["handler", "handler", "True"], "")


def test_the_same_input_gives_the_same_bytes_wherever_and_whenever(tmp_path: Path) -> None:
    files = {"orders.py": "def to_message(item): return item\n", "lib/b.py": "B = 1\n", "lib/a.py": "A = 1\n"}
    first = project(tmp_path / "one", CODE, **files)
    second = project(tmp_path / "two", CODE, **dict(reversed(files.items())))
    for path in (tmp_path / "two" / "code").rglob("*.py"):
        path.chmod(0o700)
        os.utime(path, (1_000_000_000, 1_000_000_000))
    a, b = build_zips(first, here=True), build_zips(second, here=True)
    assert [one.data for one in a] == [one.data for one in b]
    assert [(one.function, one.role) for one in a] == [
        ("orders-enqueuer", "enqueuer"),
        ("orders-worker", "worker"),
    ]
    digest = hashlib.sha256(a[0].data)
    assert (a[0].sha256, a[0].code_sha256) == (digest.hexdigest(), base64.b64encode(digest.digest()).decode())
    entries = zipfile.ZipFile(io.BytesIO(a[0].data)).infolist()
    assert {(one.date_time, one.external_attr, one.create_system) for one in entries} == {
        ((1980, 1, 1, 0, 0, 0), 0o100644 << 16, 3)
    }


def test_another_setting_gives_other_bytes(tmp_path: Path) -> None:
    plain = build_zips(project(tmp_path / "one"), here=True)[0]
    other = build_zips(project(tmp_path / "two", '[message]\ngroup = "customer"\n'), here=True)[0]
    assert plain.sha256 != other.sha256


def test_the_users_files_lie_at_the_root_without_hidden_ones_and_bytecode(tmp_path: Path) -> None:
    made = project(
        tmp_path,
        CODE,
        **{"orders.py": NAMED, "lib/a.py": "A", "lib/.hidden": "", ".env": "SECRET=1", "data.json": "{}"},
    )
    cache = tmp_path / "code" / "__pycache__"
    cache.mkdir()
    (cache / "orders.cpython-311.pyc").write_bytes(b"")
    (tmp_path / "code" / "stray.pyc").write_bytes(b"")
    (tmp_path / "code" / "linked").symlink_to("lib")
    (tmp_path / "code" / "alias.py").symlink_to("lib/a.py")
    (tmp_path / "code" / "lib" / "loop").symlink_to(tmp_path / "code")
    ours = set(contents(project(tmp_path / "plain")))
    theirs = {name for name in contents(made) if name not in ours}
    assert theirs == {"orders.py", "lib/a.py", "data.json", "alias.py", "linked/a.py"}
    assert [name for name in theirs if ".env" in name or ".hidden" in name or name.endswith(".pyc")] == []


@pytest.mark.parametrize("name", ["httpx.py", "httpx/__init__.py", "fifo_cli/__init__.py", "jmespath/x.py"])
def test_a_name_of_the_users_that_is_taken_is_refused(tmp_path: Path, name: str) -> None:
    made = project(tmp_path, CODE, **{"orders.py": NAMED, name: ""})
    # Of a module and a package of one name Python takes the package and never shows.
    taken = name.partition("/")[0].removesuffix(".py")
    with pytest.raises(ConfigError, match=f"names that are taken in the zip: {taken}$"):
        build_zips(made, here=True)


def test_a_zip_that_lambda_would_not_take_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert limits.ZIP_BYTES_MAX == 52_428_800
    made = project(tmp_path, CODE, **{"orders.py": NAMED})
    monkeypatch.setattr("fifo_cli.operations.deploy.package._STORED_MAX", 0)  # what is larger is compressed
    (tmp_path / "code" / "big.bin").write_bytes(bytes(1024 * 1024))
    size = len(build_zips(made, here=True)[0].data)
    assert size < 1024 * 1024
    monkeypatch.setattr(limits, "ZIP_BYTES_MAX", size)
    assert build_zips(made, here=True)
    monkeypatch.setattr(limits, "ZIP_BYTES_MAX", size - 1)
    with pytest.raises(ConfigError, match=rf"has {size:,} bytes; Lambda takes {size - 1:,} at most"):
        build_zips(made, here=True)


def test_what_lambda_would_not_unzip_is_refused_whatever_it_is_made_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = project(tmp_path, CODE, **{"orders.py": NAMED, "data.py": "x = 1\n"})
    size = sum(map(len, contents(made).values()))
    for most, fits in ((size, True), (size - 1, False)):
        monkeypatch.setattr(limits, "UNZIPPED_BYTES_MAX", most)  # the folder alone is far below it
        if fits:
            assert build_zips(made, here=True)
            continue
        with pytest.raises(ConfigError, match=rf"holds {size:,} bytes unzipped; Lambda takes {most:,}"):
            build_zips(made, here=True)


def test_package_writes_both_zips_and_shows_where(tmp_path: Path) -> None:
    made = project(tmp_path)
    result = package(made)
    folder = tmp_path / ".fifo" / "build"
    data = (folder / "orders-worker.zip").read_bytes()
    assert result.document()["zips"][1] == {
        "function": "orders-worker",
        "path": str(folder / "orders-worker.zip"),
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    assert sorted(path.name for path in folder.iterdir()) == ["orders-enqueuer.zip", "orders-worker.zip"]
    assert (tmp_path / ".fifo" / ".gitignore").read_text() == "*\n"
    out = tmp_path / "out" / "deep"
    assert [one.path.parent for one in package(made, out=out).zips] == [out, out]


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(UsageError, match="out cannot be written"):
        package(project(tmp_path), out=tmp_path / "out")


def test_a_file_whose_name_is_no_text_and_one_without_an_end_are_refused(tmp_path: Path) -> None:
    made = project(tmp_path, CODE, **{"orders.py": NAMED})
    source = tmp_path / "code"
    pipe = source / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(ConfigError, match="pipe cannot be read: it is not a file"):
        build_zips(made, here=True)
    pipe.unlink()
    with open(os.fsencode(source) + b"/b\xffd.py", "wb"):
        pass
    with pytest.raises(ConfigError, match=r"holds a file whose name is not UTF-8: b\\xffd\.py"):
        build_zips(made, here=True)


LINKS: dict[str, str] = {
    "file": "/etc/hostname",
    "folder": "/etc",
    "up.py": "../outside/common.py",
    "shared": "../outside",
    "chain": "second",
    "lib/deep": "../../outside",
    "parent": "..",
    "gone-later": "../outside/../outside/common.py",
}


@pytest.mark.parametrize("name", LINKS)
def test_a_link_that_leaves_the_folder_is_refused_by_name(tmp_path: Path, name: str) -> None:
    made = project(tmp_path, CODE, **{"orders.py": NAMED, "lib/a.py": "A"})
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "common.py").write_text("C")
    link = tmp_path / "code" / name
    link.symlink_to(LINKS[name])
    if name == "chain":
        (tmp_path / "code" / "second").symlink_to(tmp_path / "outside" / "common.py")
    with pytest.raises(ConfigError, match="symbolic links lead out of") as refused:
        build_zips(made, here=True)
    assert str(link) in str(refused.value)
    link.unlink()
    (tmp_path / "code" / "second").unlink(missing_ok=True)
    assert "orders.py" in contents(made)


@pytest.mark.parametrize("targets", [["a"], ["b", "a"], ["lib/b", "../a"], ["gone"]], ids=len)
def test_a_link_that_leads_nowhere_is_refused_by_name(tmp_path: Path, targets: list[str]) -> None:
    made = project(tmp_path, CODE, **{"orders.py": NAMED, "lib/a.py": "A"})
    names = ["a", "lib/b" if "/" in targets[0] else "b"][: len(targets)]
    for name, target in zip(names, targets, strict=True):
        (tmp_path / "code" / name).symlink_to(target)
    with pytest.raises(ConfigError, match=r"code/(a|b|lib/b) cannot be read: "):
        build_zips(made, here=True)


PEM = "-----BEGIN {} KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n-----END {} KEY-----\n"
SECRETS = {
    "secrets.json": "{}",
    "key.pem": "x",
    "credentials": "[default]",
    "lib/credentials.json": "{}",
    "id_rsa": "",
    "store.p12": "",
    "Store.PFX": "",
    "server.key": "",
    "prod.env": "A=1",
    "service-account.json": "{}",
    "orders-service_account-prod.json": "{}",
    "client_secret_1.json": "{}",
    "terraform.tfstate": "{}",
    "notes.txt": PEM.format("PRIVATE", "PRIVATE"),
    "config.py": f"KEY = {PEM.format('RSA PRIVATE', 'RSA PRIVATE')!r}",
    "pair.pem": "-----BEGIN CERTIFICATE-----\nMIIB\n" + PEM.format("EC PRIVATE", "EC PRIVATE"),
    "settings.ini": "aws_access_key_id = AKIA" + "Z7Q2M5KX" * 2,
    "session.txt": "ASIA" + "Z7Q2M5KX" * 2,
    "token.yaml": "x: 1",
    "hooks.py": "T = 'ghp_" + "a1" * 18 + "'",
    "webhook.py": "S = 'whsec_" + "a1" * 14 + "'",
    "kubeconfig": "apiVersion: v1",
    "prod-kubeconfig.yaml": "apiVersion: v1",
    "cluster.yaml": "users:\n- user:\n    client-key-data: " + "LS0tLS1C" * 4,
    "pip.conf": "[global]\nproxy = http://me:pw@proxy.example:3128\n",
    "secrets.json.old": "{}",
    "id_rsa.bak": "",
    "credentials~": "",
    "server.key.orig": "",
    "key.pem.1": "x",
    "tokens.txt.bak~": "",
    "api_token.json": "{}",
    "orders-access-keys.csv": "",
    "google_credentials.json": "{}",
    "prod.secrets.yaml": "a: 1",
    "job.sh": "export AWS_SECRET_ACCESS_KEY=" + "aB3/" * 10,
    "aws.json": '{"aws_secret_access_key": "' + "aB3+" * 10 + '"}',
}


@pytest.mark.parametrize("name", SECRETS)
def test_what_looks_like_a_secret_is_refused_unless_it_is_meant(tmp_path: Path, name: str) -> None:
    made = project(tmp_path, CODE, **{"orders.py": NAMED, name: SECRETS[name]})
    with pytest.raises(ConfigError, match="holds what looks like secrets") as refused:
        build_zips(made, here=True)
    assert f"{name}: it" in str(refused.value)
    assert SECRETS[name][-30:] not in str(refused.value) or len(SECRETS[name]) < 20
    meant = project(tmp_path, CODE + f'include = ["{name}"]\n')
    assert contents(meant)[name] == SECRETS[name].encode()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ca.pem", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"),
        ("credentials.py", "def read(): ..."),
        ("doc.md", "such as AKIAIOSFODNN7EXAMPLE"),
        ("keys.json", "{}"),
        ("check.py", "if text.startswith('-----BEGIN PRIVATE KEY-----'): raise ValueError"),
        ("tokens.py", "TOKENS = 1"),
        ("monkey.txt", "AKIA"),
        ("settings.py", "TOKEN = os.environ['TOKEN']; SIGN = 'whsec_'"),
        ("pip.conf", "[global]\nproxy = http://proxy.example:3128\n"),
        ("pip.ini", "proxy = http://${USER}:${PASSWORD}@proxy.example:3128"),
        ("cluster.yaml", "client-key-data: {{ key }}"),
        ("orders.json.bak", "{}"),
        ("credentials.py~", "def read(): ..."),
        ("author_keys.json", "{}"),
        ("doc2.md", "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
        ("env.py", "aws_secret_access_key = os.environ['AWS_SECRET_ACCESS_KEY']"),
        ("hash.py", "aws_secret_key = '" + "0a" * 32 + "'"),
        ("urls.py", "EXAMPLE = 'https://user:password@api.example/'"),
    ],
)
def test_what_only_resembles_a_secret_goes_into_the_zip(tmp_path: Path, name: str, text: str) -> None:
    assert name in contents(project(tmp_path, CODE, **{"orders.py": NAMED, name: text}))


def test_a_private_key_in_utf_16_is_one(tmp_path: Path) -> None:
    made = project(tmp_path, CODE, **{"orders.py": NAMED})
    (tmp_path / "code" / "notes.txt").write_bytes(PEM.format("PRIVATE", "PRIVATE").encode("utf-16"))
    with pytest.raises(ConfigError, match=r"notes\.txt: it holds a private key"):
        build_zips(made, here=True)


def test_include_takes_hidden_files_and_names_what_is_not_there(tmp_path: Path) -> None:
    made = project(tmp_path, CODE + 'include = [".env"]\n', **{"orders.py": NAMED, ".env": "A=1"})
    assert contents(made)[".env"] == b"A=1"
    with pytest.raises(ConfigError, match=r"include names what is not a file of .*: lib/x\.key$"):
        build_zips(project(tmp_path, CODE + 'include = ["lib/x.key"]\n'), here=True)


def test_a_folder_that_is_larger_than_lambda_takes_is_refused_before_it_is_read(tmp_path: Path) -> None:
    made = project(tmp_path, CODE, **{"orders.py": NAMED})
    with open(tmp_path / "code" / "big.bin", "wb") as file:
        file.truncate(limits.UNZIPPED_BYTES_MAX + 1)
    with pytest.raises(ConfigError, match=r"more than the 262,144,000 bytes .* \(reached at big.bin\)"):
        build_zips(made, here=True)
