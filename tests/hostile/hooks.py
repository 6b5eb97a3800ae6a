"""What a document cannot say: bytes instead of characters, and a notification that is valid only under its signature."""

import os
import urllib.parse

import schemathesis

from world import x_token

LINE_BYTES_MAX = 120
# A notification's names; longer ones are not CinetPay's. OpenAPI 3.0 has no word for the names of further fields.
KEY_BYTES_MAX = 64


@schemathesis.hook
def filter_body(context, body):
    """JSON Schema counts characters. A line that fits in characters and not in bytes is neither valid nor invalid."""
    if not isinstance(body, dict):
        return True
    texts = [body.get(name) for name in ("name", "by")]
    sound = all(len(text.encode("utf-8", "surrogatepass")) <= LINE_BYTES_MAX or len(text) > LINE_BYTES_MAX
                for text in texts if isinstance(text, str))
    sound = sound and all(len(name.encode("utf-8", "surrogatepass")) <= KEY_BYTES_MAX for name in body)
    # A replacement character in a form is a text that was broken on its way; the schema would need it everywhere.
    return sound and not any("\ufffd" in text for pair in body.items() for text in pair if isinstance(text, str))


@schemathesis.hook
def before_call(context, case, kwargs):
    """Signs well-formed notifications, so that they get as far as the order; the others arrive as they are."""
    positive = case.meta is None or case.meta.generation.mode.is_positive
    named = isinstance(case.body, dict) and "x-token" in {name.lower() for name in case.headers or {}}
    if case.path == "/payment/callback/" and case.method.upper() == "POST" and positive and named:
        case.body = {**case.body, "cpm_site_id": os.environ["HOSTILE_SITE_ID"]}
        pairs = [(name, str(value)) for name, value in case.body.items()]
        case.headers["x-token"] = x_token(urllib.parse.urlencode(pairs).encode())
