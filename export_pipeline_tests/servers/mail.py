"""A mail server on loopback that keeps what it is sent, and a certificate for it that nobody issued."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from export_pipeline.embedded.processes import free_ports

USER, PASSWORD = "alerts@example.com", "hush:hush"


@dataclass
class MailServer:
    """What came in: each letter, its bytes, and whether its sender was logged in and over TLS."""

    port: int
    letters: list[EmailMessage] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)
    sessions: list[tuple[bool, bool]] = field(default_factory=list)
    passwords: list[bytes] = field(default_factory=list)
    answer: str = "250 taken"
    unknown: tuple[str, ...] = ()

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.unknown:
            return f"550 {address} is not here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self.answer.startswith("250"):
            assert isinstance(envelope.content, bytes)
            letter = message_from_bytes(envelope.content, policy=policy.default)
            assert isinstance(letter, EmailMessage)
            self.letters.append(letter)
            self.raw.append(envelope.content)
            self.recipients.append(envelope.rcpt_tos)
            self.sessions.append((bool(session.authenticated), session.ssl is not None))
        return self.answer

    def authenticate(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.passwords.append(data.password)
        good = (data.login, data.password) == (USER.encode(), PASSWORD.encode())
        return AuthResult(success=good, handled=good, message=None if good else f"535 no, {USER}: {PASSWORD}")


@contextmanager
def mail_server(
    port: int | None = None, *, ssl_context: ssl.SSLContext | None = None, **options: Any
) -> Iterator[MailServer]:
    """The server, until the context ends; `options` are those of aiosmtpd."""
    server = MailServer(port or free_ports(1)[0])
    controller = Controller(
        server,
        hostname="127.0.0.1",
        port=server.port,
        ssl_context=ssl_context,
        server_hostname="mail.example.com",
        authenticator=server.authenticate,
        **options,
    )
    controller.start()
    try:
        yield server
    finally:
        controller.stop()


def make_certificate(folder: Path, *names: str) -> tuple[Path, ssl.SSLContext]:
    """A certificate for these names that vouches for itself: as a file to be trusted, and in a server's context."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    now = datetime.now(UTC)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    usage = {word: word in ("digital_signature", "key_cert_sign") for word in _USAGES}
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(item) for item in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(key, hashes.SHA256())
    )
    trusted, private = folder / "certificate.pem", folder / "key.pem"
    trusted.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(trusted, private)
    return trusted, context


_USAGES = (
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
