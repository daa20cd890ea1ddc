"""Address: where a landing is, a folder or a URL of object storage.

Takes the text of a setting or of a feed; returns a path or the URL. Which kind of landing it stands
for, the registry decides.
"""

import re
from pathlib import Path
from urllib.parse import urlsplit

URL_SCHEMES = ("s3", "gs", "az")
"""Object storage: of Amazon and whatever speaks its protocol, of Google, of Azure."""
_WRONG_SEGMENTS = {"", ".", ".."}


def parse_address(text: str) -> Path | str:
    """Return the address that a text stands for: a path, or a URL without a slash at its end.

    Raises:
        ValueError: It is a URL that cannot be used; the reason never repeats a credential.
    """
    scheme, separator, rest = text.partition("://")
    if not separator:
        return Path(text)
    if scheme not in URL_SCHEMES:
        known = ", ".join(f"{one}://" for one in URL_SCHEMES)
        raise ValueError(f"must be a folder, or begin with one of {known}")
    bucket, *segments = rest.rstrip("/").split("/")
    if re.search(r"[@?#:]", bucket) or urlsplit(text).query:
        raise ValueError(
            f"must be {scheme}://bucket/prefix and nothing more: credentials and endpoint are "
            "variables of their own"
        )
    if not bucket:
        raise ValueError(f"must be {scheme}://bucket/prefix, and has no bucket")
    if _WRONG_SEGMENTS.intersection(segments) or "\\" in rest:
        raise ValueError("must not have an empty part, `.`, `..` or a backslash in its prefix")
    return f"{scheme}://{rest.rstrip('/')}"
