"""Signatures of requests to S3, for what tests do beside the library: Signature Version 4."""

import hashlib
import hmac
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit
from urllib.request import Request, urlopen

_REGION, _SERVICE = "us-east-1", "s3"


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def sign(method: str, url: str, key: str, secret: str, body: bytes = b"") -> dict[str, str]:
    """Return the headers that make a request of somebody's, with their names in small letters."""
    parts = urlsplit(url)
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    day, digest = now[:8], hashlib.sha256(body).hexdigest()
    signed = {"host": parts.netloc, "x-amz-content-sha256": digest, "x-amz-date": now}
    names = ";".join(signed)
    query = "&".join(
        sorted(f"{one}" if "=" in one else f"{one}=" for one in parts.query.split("&") if one)
    )
    canonical = "\n".join(
        [
            *(method, quote(parts.path, safe="/%"), query),
            *(f"{name}:{value}" for name, value in signed.items()),
            *("", names, digest),
        ]
    )
    scope = f"{day}/{_REGION}/{_SERVICE}/aws4_request"
    hashed = hashlib.sha256(canonical.encode()).hexdigest()
    text = "\n".join(("AWS4-HMAC-SHA256", now, scope, hashed))
    signing_key = f"AWS4{secret}".encode()
    for part in (day, _REGION, _SERVICE, "aws4_request"):
        signing_key = _hmac(signing_key, part)
    signature = hmac.new(signing_key, text.encode(), hashlib.sha256).hexdigest()
    credential = f"Credential={key}/{scope}"
    return {
        "x-amz-content-sha256": digest,
        "x-amz-date": now,
        "authorization": f"AWS4-HMAC-SHA256 {credential}, SignedHeaders={names}, "
        f"Signature={signature}",
    }


def put_as_is(endpoint: str, path: str, key: str, secret: str) -> None:
    """Put an empty object, or make a bucket, of just that path, whatever a library thinks of it.

    Raises:
        OSError: The server refuses, or is not there.
    """
    url = f"{endpoint}/{quote(path)}"
    headers = sign("PUT", url, key, secret)
    request = Request(url, method="PUT", headers=headers)
    with urlopen(request, timeout=10):
        pass
