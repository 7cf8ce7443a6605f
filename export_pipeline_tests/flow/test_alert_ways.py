"""E-mail and webhook as they really are: encrypted, logged in, refused, away; and no secret in what is said of it."""

import json
import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from export_pipeline.embedded.processes import free_ports
from export_pipeline.flow.alert_message import TEST_MESSAGE, Alert, message_of
from export_pipeline.flow.alerts import tell_test
from export_pipeline.flow.mail import send_mail
from export_pipeline.flow.webhook import post_message
from export_pipeline.model.errors import Broken, ExportError, Rejected, Transient
from export_pipeline.settings import SettingsError, load_settings
from export_pipeline_tests.servers.hook import PATH, Hook, hook_server
from export_pipeline_tests.servers.mail import PASSWORD, mail_server, make_certificate

HOST = "mail.example.com"
LOGIN = "alerts%40example.com:hush%3Ahush"
#: Parts of addresses that nobody may read in an error.
SECRETS = ("hush", "T0KEN", "alerts@example.com", "alerts%40example.com")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    return make_certificate(tmp_path_factory.mktemp("certificate"), HOST, "localhost")


@pytest.fixture
def resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name service knows one host beyond loopback's, and says that it is here."""
    real = socket.getaddrinfo

    def lookup(host: Any, *rest: Any, **values: Any) -> Any:
        assert host in (HOST, "127.0.0.1", "localhost"), host
        return real("127.0.0.1", *rest, **values)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)


@pytest.fixture
def hook() -> Iterator[Hook]:
    with hook_server() as server:
        yield server


def send(url: str, *recipients: str) -> None:
    to = recipients or ("on-call@example.com",)
    send_mail(SecretStr(url), TEST_MESSAGE, sender="exports@example.com", recipients=to)


def post(url: str) -> None:
    post_message(SecretStr(url), TEST_MESSAGE)


def discreet(error: BaseException) -> str:
    assert not any(secret in str(error) for secret in SECRETS), str(error)
    return str(error)


def test_mail_when_the_server_is_elsewhere_then_encrypted_before_the_login(
    certificate: tuple[Path, ssl.SSLContext], resolved: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    trusted, context = certificate
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    with mail_server(tls_context=context, require_starttls=True, auth_required=True) as server:
        send(f"smtp://{LOGIN}@{HOST}:{server.port}")
    assert server.sessions == [(True, True)]
    [letter] = server.letters
    assert letter["To"] == "on-call@example.com" and letter["Message-ID"].endswith("@example.com>")
    assert letter.get_content().strip() == TEST_MESSAGE.text


def test_mail_when_the_server_offers_no_encryption_then_nothing_is_sent(resolved: None) -> None:
    with (
        mail_server(auth_require_tls=False) as server,
        pytest.raises(Broken, match="lacks what is needed: STARTTLS") as caught,
    ):
        send(f"smtp://{LOGIN}@{HOST}:{server.port}")
    discreet(caught.value)
    assert (server.passwords, server.letters) == ([], [])


def test_mail_when_nobody_vouches_for_the_certificate_then_nothing_is_sent(
    certificate: tuple[Path, ssl.SSLContext], resolved: None
) -> None:
    with mail_server(tls_context=certificate[1]) as server, pytest.raises(Broken, match="not trusted") as caught:
        send(f"smtp://{LOGIN}@{HOST}:{server.port}")
    discreet(caught.value)
    assert (server.passwords, server.letters) == ([], [])


def test_mail_when_it_is_encrypted_from_the_start_then_sent_so(
    certificate: tuple[Path, ssl.SSLContext], resolved: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    with mail_server(ssl_context=certificate[1], tls_context=certificate[1]) as server:
        send(f"smtps://localhost:{server.port}")
    assert len(server.letters) == 1


@pytest.mark.parametrize(
    ("login", "answer", "error", "told"),
    [
        ("alerts%40example.com:hush-wrong@", "250 taken", Broken, r"refused the login \(code 535\)"),
        ("alerts%40example.com:hush%C3%A4@", "250 taken", Broken, "use ASCII"),
        ("", "452 hush, the disk is full", Transient, r"refused the message \(code 452\)"),
        ("", "554 hush, no spam", Broken, r"refused the message \(code 554\)"),
    ],
)
def test_mail_when_refused_then_says_what_was_and_not_what_the_server_said(
    login: str, answer: str, error: type[ExportError], told: str
) -> None:
    with mail_server(auth_require_tls=False) as server, pytest.raises(error, match=told) as caught:
        server.answer = answer
        send(f"smtp://{login}127.0.0.1:{server.port}")
    discreet(caught.value)
    assert server.letters == []


def test_mail_when_one_recipient_is_unknown_then_the_others_get_it(caplog: pytest.LogCaptureFixture) -> None:
    with mail_server() as server:
        server.unknown = ("gone@example.com",)
        send(f"smtp://127.0.0.1:{server.port}", "gone@example.com", "here@example.com")
        assert server.recipients == [["here@example.com"]]
        assert "refused 1 of 2 recipients" in caplog.text and "gone@" not in caplog.text
        with pytest.raises(Broken, match=r"refused all recipients \(code 550\)"):
            send(f"smtp://127.0.0.1:{server.port}", "gone@example.com")


def test_webhook_when_posted_to_then_text_is_no_markup_and_facts_are_as_they_are(hook: Hook) -> None:
    alert = Alert("export:1", datetime(2026, 1, 2, tzinfo=UTC), "calls as csv", "<!channel> & co", run_id="r")
    post_message(SecretStr(hook.url), message_of([alert], None))
    [(path, body)] = hook.posts
    document = json.loads(body)
    assert path == PATH
    assert "why: &lt;!channel&gt; &amp; co\n" in document["text"]
    [fact] = document["alerts"]
    assert (fact["error"], fact["at"], fact["run"]) == ("<!channel> & co", "2026-01-02T00:00:00+00:00", "r")


@pytest.mark.parametrize(
    ("status", "error", "told"),
    [
        (302, Broken, r"redirects \(302\), which is not followed"),
        (307, Broken, r"redirects \(307\)"),
        (404, Broken, r"refused it \(404\)"),
        (429, Transient, r"not take it now \(429\)"),
        (503, Transient, r"not take it now \(503\)"),
    ],
)
def test_webhook_when_it_does_not_take_it_then_told_why_and_asked_nowhere_else(
    hook: Hook, status: int, error: type[ExportError], told: str
) -> None:
    hook.status, hook.location = status, "/elsewhere"
    with pytest.raises(error, match=told) as caught:
        post(hook.url)
    discreet(caught.value)
    assert [path for path, _ in hook.posts] == [PATH]


def test_webhook_when_nobody_answers_then_told_without_its_address(hook: Hook) -> None:
    with pytest.raises(Transient, match="ConnectionRefusedError") as caught:
        post(f"http://127.0.0.1:{free_ports(1)[0]}{PATH}")
    discreet(caught.value)
    with pytest.raises(Transient, match="SSLError") as caught:
        post(hook.url.replace("http://", "https://"))
    discreet(caught.value)


MAIL = {
    "EXPORT_SMTP_URL": f"smtp://{LOGIN}@mail.example.com",
    "EXPORT_ALERT_FROM": "exports@example.com",
    "EXPORT_ALERT_TO": "a@example.com",
}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(
            ("EXPORT_SMTP_URL", value)
            for value in (
                "mail.example.com",
                "http://mail.example.com",
                "smtp://hush@mail.example.com",
                "smtp://a:hush/x@mail.example.com",
                "smtp://a:hush@mail.example.com:99999",
                "smtp://a:hush@mail.example.com/path",
                "smtp://a:hüsh@mail.example.com",
            )
        ),
        *(
            ("EXPORT_ALERT_WEBHOOK", value)
            for value in (
                "http://hooks.example.com/hush",
                "http://127.0.0.1.example.com/hush",
                "http://localhost@example.com/hush",
                "https://me:hush@hooks.example.com/",
                "https://hooks.example.com:0/hush",
                "https://hooks.example.com/hüsh",
                "file:///hush",
            )
        ),
        ("EXPORT_ALERT_TO", "a@example.com, hush"),
        ("EXPORT_ALERT_TO", "a@example.com\nBcc: hush@example.com"),
        ("EXPORT_ALERT_FROM", "a@example.com, hush@example.com"),
        ("EXPORT_ALERT_FROM", "Exports <hush@example.com>"),
        ("EXPORT_ALERT_FROM", "hüsh@example.com"),
    ],
)
def test_setting_of_alerts_when_it_cannot_be_one_then_a_sentence_without_it(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} is wrong: ") as caught:
        load_settings(**{"DATABASE_URL": "postgresql://x/y", **MAIL, name: value})
    assert "hush" not in str(caught.value) and "hüsh" not in str(caught.value)


@pytest.mark.parametrize("missing", ["EXPORT_SMTP_URL", "EXPORT_ALERT_FROM"])
def test_setting_of_mail_when_another_is_missing_then_names_all_three(missing: str) -> None:
    values = {name: value for name, value in MAIL.items() if name != missing}
    with pytest.raises(SettingsError, match="needs EXPORT_SMTP_URL and EXPORT_ALERT_FROM"):
        load_settings(DATABASE_URL="postgresql://x/y", **values)


def test_test_message_when_sent_then_tells_of_each_way_what_came_of_it(hook: Hook) -> None:
    with pytest.raises(Rejected, match="EXPORT_ALERT_WEBHOOK"):
        tell_test(load_settings(DATABASE_URL="postgresql://x/y"))
    mail = MAIL | {"EXPORT_SMTP_URL": f"smtp://127.0.0.1:{free_ports(1)[0]}"}
    outcome = tell_test(load_settings(DATABASE_URL="postgresql://x/y", EXPORT_ALERT_WEBHOOK=hook.url, **mail))
    assert isinstance(outcome["mail"], Transient) and outcome["webhook"] is None
    assert json.loads(hook.posts[0][1])["text"] == TEST_MESSAGE.text
    assert PASSWORD not in repr(outcome)
