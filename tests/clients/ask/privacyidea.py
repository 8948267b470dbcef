"""privacyIDEA: a token of the type yubico."""
import sys

from with_privacyidea import app, set_privacyidea_config

url, client_id, key = sys.argv[1:4]
with app.app_context():
    from privacyidea.lib.token import init_token

    for name, value in [("id", client_id), ("secret", key), ("url", url)]:
        set_privacyidea_config("yubico." + name, value)
    tokens = {}
    for line in sys.stdin:
        otp = line.strip()
        if otp[:12] not in tokens:
            tokens[otp[:12]] = init_token({"type": "yubico", "yubico.tokenid": otp, "serial": otp[:12]})
        answer = tokens[otp[:12]].check_otp(otp)
        print("yes" if answer == 1 else f"no {answer}", flush=True)
