"""Store errors: what an error of an object store means, in words of this package's own.

Takes the error that the library raised; returns why, as a part of a sentence. Its message is never
repeated: an address in it may be signed, and an answer hold a key.
"""

import re

REQUEST_SECONDS = 30
"""How long one request may take."""
_STATUS = re.compile(r"status(?: code)?: (\d{3})\b")
_CODE = re.compile(r"<Code>([A-Za-z]{1,60})</Code>")
_BAD_KEY = re.compile(r'Error parsing Path "(.*?)": ', re.DOTALL)


def explain(error: Exception) -> str:
    """Return why a store failed."""
    text = str(error)
    status, code = _STATUS.search(text), _CODE.search(text)
    told = " ".join(found[1] for found in (status, code) if found)
    number = status[1] if status else ""
    if bad_key := _BAD_KEY.search(text):
        name = ascii(bad_key[1])[:300]
        return f"the key {name} in it is none that can be read: delete or rename that object"
    if isinstance(error, EOFError):
        return "fewer bytes arrived than were listed, also when asked again"
    if code and code[1] == "NoSuchBucket":
        return "there is no such bucket"
    if "169.254.169.254" in text or re.search(r"Missing\w*(Key|Token|Credential)", text):
        return "no credentials were found in the environment"
    if number in ("401", "403"):
        return f"the store denies access ({told}): check the credentials and what they may do"
    if number.startswith("3") or "redirect" in text.lower():
        return "the store sends elsewhere: check the region and the endpoint"
    if number:
        return f"the store answers {told}"
    if "kind: Timeout" in text or "TimedOut" in text or "timed out" in text:
        return f"the store did not answer within {REQUEST_SECONDS} s"
    if "kind: Connect" in text:
        return "the store cannot be reached: check the endpoint"
    if re.search(r"kind: (Decode|Body|Request|Interrupted)", text):
        return "the connection to the store ended early, also when tried again"
    return f"the store failed ({type(error).__name__})"
