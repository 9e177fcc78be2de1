"""Run in the client host: one S3 request, signed by hand so that the signature or its time can be wrong.

`python s3_ask.py METHOD URL KEYS_FILE [SKEW_S]`; the object is what standard input holds. Prints status and error code.
"""

import datetime
import hashlib
import hmac
import re
import sys
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

SCOPE = "us-east-1/s3/aws4_request"


def signed(method: str, url: str, access: str, secret: str, body: bytes, skew_s: float) -> dict[str, str]:
    """Headers by signature version 4 (AWS General Reference, "Create a signed AWS API request")."""
    now = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=skew_s)
    when, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    digest = hashlib.sha256(body).hexdigest()
    parts = urlsplit(url)
    headers = {"host": parts.netloc, "x-amz-content-sha256": digest, "x-amz-date": when}
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    request = "\n".join((method, parts.path or "/", parts.query, lines, ";".join(headers), digest))
    text = "\n".join(("AWS4-HMAC-SHA256", when, f"{day}/{SCOPE}", hashlib.sha256(request.encode()).hexdigest()))
    key = f"AWS4{secret}".encode()
    for word in (day, *SCOPE.split("/")):
        key = hmac.digest(key, word.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    credential = f"Credential={access}/{day}/{SCOPE}, SignedHeaders={';'.join(headers)}, Signature={signature}"
    return {**headers, "authorization": f"AWS4-HMAC-SHA256 {credential}"}


def main() -> None:
    method, url, keys, *skew = sys.argv[1:]
    access, secret = Path(keys).read_text().split()
    body = sys.stdin.buffer.read()
    headers = signed(method, url, access, secret, body, float(skew[0]) if skew else 0.0)
    request = urllib.request.Request(url, body if method == "PUT" else None, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            print(answer.status, answer.read().decode(errors="replace") if method == "GET" else "")
    except urllib.error.HTTPError as error:
        code = re.search(r"<Code>(\w+)</Code>", error.read().decode(errors="replace"))
        print(error.code, code[1] if code else "")


if __name__ == "__main__":
    main()
