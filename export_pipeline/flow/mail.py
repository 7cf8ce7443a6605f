"""Sends a message by e-mail, through the server of EXPORT_SMTP_URL."""

import logging
import smtplib
import ssl
from contextlib import suppress
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, make_msgid
from ipaddress import ip_address
from urllib.parse import SplitResult, unquote, urlsplit

from pydantic import SecretStr

from export_pipeline.flow.alert_message import Message
from export_pipeline.model.errors import Broken, Transient

_log = logging.getLogger(__name__)

#: How long the server may take to answer each command (seconds).
_TIMEOUT_SECONDS = 10
_PORTS = {"smtp": 587, "smtps": 465}
_UNTRUSTED = (
    "the mail server's certificate is not trusted or is not for this name; check the host in EXPORT_SMTP_URL, and that "
    "this machine knows who issued the certificate"
)


def send_mail(url: SecretStr, message: Message, *, sender: str, recipients: tuple[str, ...]) -> None:
    """Sends one message to all. Raises Transient where the server cannot be reached or says that it cannot now, Broken
    where it will not, or takes none of the recipients. What the server says is not told on: it may repeat who logs in.
    """
    domain = sender.rpartition("@")[2]
    letter = EmailMessage(policy=SMTP)
    letter["Subject"] = message.subject
    letter["From"] = sender
    letter["To"] = ", ".join(recipients)
    letter["Date"] = format_datetime(datetime.now(UTC))
    letter["Message-ID"] = make_msgid(domain=domain)
    letter["Auto-Submitted"] = "auto-generated"
    if message.urgent:
        letter["Importance"] = "high"
    letter.set_content(message.text)
    parts = urlsplit(url.get_secret_value())
    try:
        server = _connect(parts, domain)
        try:
            if parts.username and parts.password:
                server.login(unquote(parts.username), unquote(parts.password))
            refused = server.send_message(letter, sender, recipients)
        finally:
            # Once the message is taken, a server that says good-bye badly does not undo it.
            with suppress(smtplib.SMTPException, OSError):
                server.quit()
            server.close()
    except smtplib.SMTPRecipientsRefused as error:
        raise _refusal(min(code for code, _ in error.recipients.values()), "all recipients") from error
    except smtplib.SMTPAuthenticationError as error:
        raise _refusal(error.smtp_code, "the login") from error
    except smtplib.SMTPResponseException as error:
        raise _refusal(error.smtp_code, "the message") from error
    except ssl.SSLCertVerificationError as error:
        raise Broken(_UNTRUSTED) from error
    except smtplib.SMTPServerDisconnected as error:
        raise Transient("the mail server closed the connection; it may be busy") from error
    except smtplib.SMTPException as error:
        # Of these the text is Python's own: no STARTTLS, no way to log in.
        raise Broken(f"the mail server lacks what is needed: {error} Check EXPORT_SMTP_URL") from error
    except UnicodeError:
        raise Broken("the host, user or password in EXPORT_SMTP_URL holds what mail cannot carry; use ASCII") from None
    except OSError as error:
        raise Transient(
            f"the mail server cannot be reached or went away ({type(error).__name__}); check that it is up and "
            "EXPORT_SMTP_URL"
        ) from error
    if refused:
        _log.warning("the mail server refused %d of %d recipients of an alert", len(refused), len(recipients))


def _connect(parts: SplitResult, domain: str) -> smtplib.SMTP:
    """A connection that nobody can listen to. The sender's domain is how we introduce ourselves: Python's usual way
    asks the name service first."""
    host = parts.hostname or ""
    port = parts.port or _PORTS[parts.scheme]
    if parts.scheme == "smtps":
        context = ssl.create_default_context()
        return smtplib.SMTP_SSL(host, port, local_hostname=domain, timeout=_TIMEOUT_SECONDS, context=context)
    server = smtplib.SMTP(host, port, local_hostname=domain, timeout=_TIMEOUT_SECONDS)
    try:
        if not _is_loopback(host):
            server.starttls(context=ssl.create_default_context())
    except BaseException:
        server.close()
        raise
    return server


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _refusal(code: int, what: str) -> Broken | Transient:
    told = f"the mail server refused {what} (code {code}); check"
    if 400 <= code < 500:
        return Transient(f"{told} whether it is busy")
    return Broken(f"{told} EXPORT_SMTP_URL, EXPORT_ALERT_FROM and EXPORT_ALERT_TO")
