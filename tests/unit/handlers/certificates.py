"""Certificates made in a test: an authority, what it issues, and a server that asks clients for theirs."""

from __future__ import annotations

import contextlib
import ipaddress
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

_PEM = serialization.Encoding.PEM
_USES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


@dataclass(frozen=True)
class Issued:
    """A certificate and its key, as PEM."""

    certificate: str
    key: str

    def pem(self, certificate: str, key: str) -> dict[str, str]:
        """Return both by these names."""
        return {certificate: self.certificate, key: self.key}


class Authority:
    """Issues certificates; ``name`` is its own."""

    def __init__(self, name: str = "test authority") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        basic = x509.BasicConstraints(ca=True, path_length=None)
        usage = dict.fromkeys(_USES, False) | {"key_cert_sign": True, "crl_sign": True}
        identifier = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        extensions: list[tuple[Any, bool]] = [
            (basic, True),
            (x509.KeyUsage(**usage), True),
            (identifier, False),
        ]
        self.certificate = self._signed(self._name, self._key, {"days": 9}, extensions)

    def pem(self, name: str) -> dict[str, str]:
        """Return its certificate by this name."""
        return {name: self.certificate}

    def issue(self, name: str, *, begins: float = -1, days: float = 9) -> Issued:
        """Issue a certificate for a client, or a server on this machine, valid for so many days."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        # Python 3.13 wants to see whose key has signed it ("ssl", VERIFY_X509_STRICT).
        signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        extensions: list[tuple[Any, bool]] = [
            (x509.SubjectAlternativeName([address]), False),
            (signer, False),
        ]
        text = self._signed(subject, key, {"begins": begins, "days": days}, extensions)
        return Issued(text, _text(key))

    def _signed(
        self, subject: x509.Name, key: Any, time: dict[str, float], extensions: list[tuple[Any, bool]]
    ) -> str:
        begins = datetime.now(UTC) + timedelta(days=time.get("begins", -1))
        number = x509.random_serial_number()
        made = (
            x509.CertificateBuilder(self._name, subject, key.public_key(), number)
            .not_valid_before(begins)
            .not_valid_after(begins + timedelta(days=time["days"]))
        )
        for extension, critical in extensions:
            made = made.add_extension(extension, critical)
        return made.sign(self._key, hashes.SHA256()).public_bytes(_PEM).decode()


def _text(key: Any, password: bytes | None = None) -> str:
    lock = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    made: bytes = key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, lock)
    return made.decode()


def rsa_key() -> str:
    """Return a private key of another type than those of certificates here."""
    return _text(rsa.generate_private_key(65537, 2048))


def encrypted(key: str) -> str:
    """Return a private key that has a password."""
    return _text(serialization.load_pem_private_key(key.encode(), None), b"password")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    tls: ssl.SSLContext

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Speak TLS in the connection's own thread; a client without a certificate gets an alert."""
        with (
            contextlib.suppress(OSError),  # ssl.SSLError is one
            self.tls.wrap_socket(request, server_side=True) as connection,
        ):
            super().finish_request(connection, client_address)


@contextlib.contextmanager
def tls_receiver(
    folder: Path, server: Issued, clients: str, answer: Callable[[str, bytes], int]
) -> Iterator[str]:
    """Serve ``https``, for clients whose certificate ``clients`` has issued; yields the URL.

    ``answer`` gets the common name of a client and what it sent, and returns the status.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            peer: Any = self.connection
            name = dict(pair for (pair,) in peer.getpeercert()["subject"])["commonName"]
            body = self.rfile.read(int(self.headers["content-length"]))
            self.send_response(answer(name, body))
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    file = folder / "server.pem"
    file.write_text(server.key + server.certificate)
    made = _Server(("127.0.0.1", 0), Handler)
    made.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.tls.load_cert_chain(file)
    made.tls.load_verify_locations(cadata=clients)
    made.tls.verify_mode = ssl.CERT_REQUIRED
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"https://127.0.0.1:{made.server_address[1]}/"
    finally:
        made.shutdown()
        made.server_close()
