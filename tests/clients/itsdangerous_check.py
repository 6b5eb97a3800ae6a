"""Reads our download tokens with PyPI's itsdangerous and makes some for us to read.

Stdin: one JSON object {"secret", "tokens": {name: token}, "payloads": {name: object}}.
Stdout: one JSON object {"read": {name: {"payload", "timestamp"} or {"error"}}, "made": {name: token}, "now": seconds}.
"""

import hashlib
import json
import sys
import time

from itsdangerous import BadSignature, URLSafeTimedSerializer

MAX_AGE_SECONDS = 3600


def read(serializer: URLSafeTimedSerializer, token: str) -> dict:
    try:
        payload, at = serializer.loads(token, max_age=MAX_AGE_SECONDS, return_timestamp=True)
    except BadSignature as error:  # SignatureExpired and BadData of the payload are kinds of it
        return {"error": type(error).__name__}
    return {"payload": payload, "timestamp": int(at.timestamp())}


def main() -> None:
    asked = json.load(sys.stdin)
    serializer = URLSafeTimedSerializer(
        asked["secret"], salt="auditshield.download", signer_kwargs={"digest_method": hashlib.sha256}
    )
    answer = {
        "read": {name: read(serializer, token) for name, token in asked["tokens"].items()},
        "made": {name: serializer.dumps(payload) for name, payload in asked["payloads"].items()},
        "now": int(time.time()),
    }
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
