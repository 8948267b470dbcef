"""What pyotp says: a question a line, an answer a line.

code hotp|totp ALGORITHM DIGITS PERIOD SECRET COUNTER|UNIX   the code
verify ALGORITHM DIGITS PERIOD SECRET UNIX WINDOW CODE       yes or no: is it one of so many steps around that moment?
uri URI                                                      what it makes of the URI, in JSON; and its next code
read URI                                                     the same by Python's own reader of URIs
"""
import datetime
import hashlib
import json
import sys
import urllib.parse

import pyotp

DIGESTS = {"SHA1": hashlib.sha1, "SHA256": hashlib.sha256, "SHA512": hashlib.sha512}


def code(kind, algorithm, digits, period, secret, number):
    digest = DIGESTS[algorithm]
    if kind == "hotp":
        return pyotp.HOTP(secret, digits=int(digits), digest=digest).at(int(number))
    return pyotp.TOTP(secret, digits=int(digits), digest=digest, interval=int(period)).at(int(number))


def verify(algorithm, digits, period, secret, unix, window, typed):
    totp = pyotp.TOTP(secret, digits=int(digits), digest=DIGESTS[algorithm], interval=int(period))
    at = datetime.datetime.fromtimestamp(int(unix))
    return "yes" if totp.verify(typed, for_time=at, valid_window=int(window)) else "no"


def uri(text):
    token = pyotp.parse_uri(text)
    is_totp = isinstance(token, pyotp.TOTP)
    return json.dumps({
        "kind": "totp" if is_totp else "hotp",
        "issuer": token.issuer,
        "account": token.name,
        "secret": token.secret,
        "algorithm": token.digest().name.upper(),
        "digits": token.digits,
        "number": token.interval if is_totp else token.initial_count,
    })


def read(text):
    # What is not there is as the format says.
    parsed = urllib.parse.urlsplit(text)
    issuer, account = urllib.parse.unquote(parsed.path.removeprefix("/"), errors="strict").split(":", 1)
    fields = dict(urllib.parse.parse_qsl(parsed.query, strict_parsing=True, errors="strict"))
    if parsed.scheme != "otpauth" or fields["issuer"] != issuer or parsed.fragment:
        raise ValueError(text)
    return json.dumps({
        "kind": parsed.netloc,
        "issuer": issuer,
        "account": account,
        "secret": fields["secret"],
        "algorithm": fields.get("algorithm", "SHA1"),
        "digits": int(fields.get("digits", 6)),
        "number": int(fields.get("period", 30) if parsed.netloc == "totp" else fields["counter"]),
    })


for line in sys.stdin:
    question, *rest = line.rstrip("\n").split(" ")
    print({"code": code, "verify": verify, "uri": uri, "read": read}[question](*rest))
