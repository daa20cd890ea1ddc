"""Alerts: one sentence to the people responsible for a feed, by webhook and by e-mail.

Takes an alert and the settings; sends it to the configured recipients, by default none. What
deserves an alert is decided in `builders/alerts.py`.
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
    """A message to people.

    Attributes:
        feed: Name of the feed; empty if it concerns none.
        partitions: The partition keys that it concerns; a range may be one text, `a to c`.
        reason: What is wrong, in plain words.
        url: Where to read more; empty if nowhere.
    """

    feed: str
    partitions: Sequence[str]
    reason: str
    url: str = ""

    @property
    def sentence(self) -> str:
        """The alert as one sentence; no key in it can break the line."""
        named = ", ".join(self.partitions[:_MOST_NAMED])
        more = len(self.partitions) - _MOST_NAMED
        keys = f"{named} and {more} more" if more > 0 else named
        subject = f"feed {self.feed}" if self.feed else "a run"
        about = f"{subject}, partition {keys}" if keys else subject
        text = f"{about}: {self.reason}" + (f" See {self.url}" if self.url else "")
        return "".join(char if char.isprintable() else " " for char in text)


def is_alerting(settings: Settings) -> bool:
    """Return whether the settings name any recipient."""
    return bool(settings.alert_webhook_url or settings.alert_email_to)


def send_alert(alert: Alert, settings: Settings, log: logging.Logger) -> bool:
    """Send an alert through every configured channel; a failure is logged and affects no other.

    Args:
        alert: The message.
        settings: The settings, which name the recipients.
        log: Where a failure is logged.

    Returns:
        Whether any channel delivered it.
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
    # Every process of the code location imports this module; few post anything.
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
