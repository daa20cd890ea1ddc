"""Alerts: one sentence to the people who answer for a feed, by webhook and by e-mail.

Takes an alert and the settings; sends it where the settings say, which by default is nowhere. What
is worth an alert is decided in `builders/alerts.py`.
"""

import json
import logging
import smtplib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from email.message import EmailMessage

from partitioned_etl.ingest.settings import Settings

TIMEOUT_SECONDS = 10.0
_MOST_NAMED = 5
_SMTP_PORT = 25


@dataclass(frozen=True)
class Alert:
    """What people are told.

    Attributes:
        feed: Name of the feed; empty if it is about none.
        partitions: The partition keys that it is about; a range may be one text, `a to c`.
        reason: What is wrong, in plain words.
        url: Where to read more; empty if there is nothing.
    """

    feed: str
    partitions: Sequence[str]
    reason: str
    url: str = ""

    @property
    def sentence(self) -> str:
        """All of it in one sentence, in which no key can break a line."""
        named = ", ".join(self.partitions[:_MOST_NAMED])
        more = len(self.partitions) - _MOST_NAMED
        keys = f"{named} and {more} more" if more > 0 else named
        subject = f"feed {self.feed}" if self.feed else "a run"
        about = f"{subject}, partition {keys}" if keys else subject
        text = f"{about}: {self.reason}" + (f" See {self.url}" if self.url else "")
        return "".join(char if char.isprintable() else " " for char in text)


def is_alerting(settings: Settings) -> bool:
    """Tell whether the settings name anybody to alert."""
    return bool(settings.alert_webhook_url or settings.alert_email_to)


def send_alert(alert: Alert, settings: Settings, log: logging.Logger) -> bool:
    """Send an alert by every way that is set. A way that fails is logged and breaks nothing.

    Args:
        alert: What to say.
        settings: Where to.
        log: Where a failure is told.

    Returns:
        Whether it was delivered by any of them.
    """
    delivered = False
    ways = {
        "webhook": (_post, settings.alert_webhook_url),
        "e-mail": (_mail, settings.alert_email_to),
    }
    for way, (send, address) in ways.items():
        if not address:
            continue
        try:
            send(alert, settings)
        except (OSError, ValueError) as error:
            log.error(f"alert not delivered by {way}: {type(error).__name__}; {alert.sentence}")
        else:
            delivered = True
    return delivered


def _post(alert: Alert, settings: Settings) -> None:
    # Every process of the code location loads this module, and few post anything.
    from http.client import HTTPException
    from urllib.request import Request, urlopen

    body = {"text": alert.sentence, **asdict(alert)}
    request = Request(
        settings.alert_webhook_url,
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
        method="POST",
    )
    try:
        with urlopen(request, timeout=TIMEOUT_SECONDS):
            pass
    except HTTPException as error:
        raise ConnectionError("what answers there does not speak HTTP") from error


def _mail(alert: Alert, settings: Settings) -> None:
    message = EmailMessage()
    message["From"] = settings.alert_email_from
    message["To"] = settings.alert_email_to
    message["Subject"] = f"partitioned-etl: {alert.feed or 'a run failed'}"
    message.set_content(alert.sentence)
    host, _, port = settings.alert_smtp_server.partition(":")
    with smtplib.SMTP(host, int(port or _SMTP_PORT), timeout=TIMEOUT_SECONDS) as server:
        server.send_message(message)
