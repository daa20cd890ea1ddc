"""A bucket that exists only as the listing of its objects: an S3 server for benchmarks of looks.

Takes the number of objects, of those that have changed and, for names with a date, the first day;
answers each page of a listing from its token alone, so that a million objects take no room. It
knows no other request, but for the one that asks how many there were.
"""

import sys
from bisect import bisect_right
from datetime import date, timedelta
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

PREFIX = "events"
ETAG_OF_CHANGED = "f" * 32
PARTS = 1_000
"""How many parts a partition has."""
_PER_PAGE = 1_000
SIZE_BYTES, _MODIFIED = 5_000, "2026-01-01T00:00:00.000Z"
MODIFIED_S = 1_767_225_600
COUNT_PATH = "/count"
"""What is asked for to be told how many pages were."""


def name_of(number: int, first_day: date | None = None) -> str:
    """Give the name of an object in the feed's place, in the order in which a store lists them."""
    if first_day:
        return f"{first_day + timedelta(days=number // PARTS):%Y/%m/%d}/{number:07}.csv"
    return f"{number // PARTS:04}/{number:07}.csv"


def etag_of(number: int, changed: int) -> str:
    """Give the ETag of an object; the first ones of some partitions have changed."""
    return (
        ETAG_OF_CHANGED
        if number % PARTS == 0 and number < changed * PARTS
        else md5(str(number).encode()).hexdigest()
    )


def version_of(number: int) -> str:
    """Give the version that a landing tells of an object that has not changed."""
    return f"{SIZE_BYTES}-{etag_of(number, 0)}-{MODIFIED_S}"


class Listing(BaseHTTPRequestHandler):
    """Answers requests for pages of the listing."""

    objects, changed, pages = 0, 0, 0
    first_day: date | None = None
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer with a page."""
        if self.path == COUNT_PATH:
            self._send(str(Listing.pages).encode())
            return
        Listing.pages += 1
        asked = parse_qs(urlsplit(self.path).query)
        after = asked.get("start-after", [""])[0]
        first = bisect_right(range(self.objects), after, key=self._key_of) if after else 0
        first = int(asked.get("continuation-token", [str(first)])[0])
        last = min(first + _PER_PAGE, self.objects)
        is_cut = last < self.objects
        listed = "".join(
            f"<Contents><Key>{self._key_of(number)}</Key>"
            f"<LastModified>{_MODIFIED}</LastModified>"
            f"<ETag>&quot;{etag_of(number, self.changed)}&quot;</ETag>"
            f"<Size>{SIZE_BYTES}</Size><StorageClass>STANDARD</StorageClass></Contents>"
            for number in range(first, last)
        )
        token = f"<NextContinuationToken>{last}</NextContinuationToken>" if is_cut else ""
        body = (
            '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult>'
            f"<IsTruncated>{str(is_cut).lower()}</IsTruncated>{token}{listed}</ListBucketResult>"
        ).encode()
        self._send(body)

    def _key_of(self, number: int) -> str:
        return f"{PREFIX}/{name_of(number, self.first_day)}"

    def _send(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


def main() -> None:
    """Serve until somebody ends the process; the first line printed is the port."""
    Listing.objects, Listing.changed = map(int, sys.argv[1:3])
    Listing.first_day = date.fromisoformat(sys.argv[3]) if sys.argv[3:] else None
    with ThreadingHTTPServer(("127.0.0.1", 0), Listing) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
