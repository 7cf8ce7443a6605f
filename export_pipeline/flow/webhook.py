"""Posts a message to the address of EXPORT_ALERT_WEBHOOK, as Slack, Mattermost and Teams take it."""

import json
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

from pydantic import SecretStr

from export_pipeline.flow.alert_message import Message
from export_pipeline.model.errors import Broken, Transient

#: How long the other side may be silent (seconds).
_TIMEOUT_SECONDS = 10
#: What chats take for a link, a mention or markup of theirs.
_ESCAPED = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


class _NoRedirects(HTTPRedirectHandler):
    """Follows none: what is told goes to the address that was set, and nowhere else."""

    def redirect_request(self, *args: Any, **values: Any) -> None:
        return None


def post_message(url: SecretStr, message: Message) -> None:
    """Posts `{"text": …, "alerts": […]}`. Raises Transient where the other side cannot be reached or says that it
    cannot now, Broken where it will not. The address is a secret, and is in no error."""
    address = url.get_secret_value()
    document = {"text": message.text.translate(_ESCAPED), "alerts": list(message.facts)}
    request = Request(  # noqa: S310  (settings allow https and loopback alone)
        address,
        data=json.dumps(document).encode(),
        headers={"Content-Type": "application/json", "User-Agent": "export-pipeline"},
        method="POST",
    )
    # Plain HTTP is for loopback, where no proxy leads.
    direct = [ProxyHandler({})] if urlsplit(address).scheme == "http" else []
    try:
        with build_opener(_NoRedirects, *direct).open(request, timeout=_TIMEOUT_SECONDS):
            return
    except HTTPError as error:
        with error:
            raise _refusal(error.code) from None
    except (OSError, HTTPException, UnicodeError) as error:
        reason = getattr(error, "reason", error)
        raise Transient(
            f"the webhook cannot be reached ({type(reason).__name__}); check EXPORT_ALERT_WEBHOOK"
        ) from None


def _refusal(code: int) -> Broken | Transient:
    if 300 <= code < 400:
        return Broken(
            f"the webhook redirects ({code}), which is not followed; set EXPORT_ALERT_WEBHOOK to where it leads"
        )
    if code == 429 or code >= 500:
        return Transient(f"the webhook does not take it now ({code})")
    return Broken(f"the webhook refused it ({code}); check EXPORT_ALERT_WEBHOOK")
