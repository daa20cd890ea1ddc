"""A bucket that exists only as the listing of its objects: an S3 server for benchmarks of looks.

Takes the number of objects, and of those that have changed; answers each page of a listing from its
token alone, so that a million objects take no room. It knows no other request.
"""

import sys
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


def name_of(number: int) -> str:
    """Give the name of an object in the feed's place, in the order in which a store lists them."""
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

    objects, changed = 0, 0
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer with a page."""
        asked = parse_qs(urlsplit(self.path).query)
        first = int(asked.get("continuation-token", ["0"])[0])
        last = min(first + _PER_PAGE, self.objects)
        is_cut = last < self.objects
        listed = "".join(
            f"<Contents><Key>{PREFIX}/{name_of(number)}</Key>"
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
    with ThreadingHTTPServer(("127.0.0.1", 0), Listing) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
