"""privacyIDEA with one client and one token."""
import sys

from with_privacyidea import app, set_privacyidea_config

port, public_id, private_id, aes_key, api_key = sys.argv[1:]
with app.app_context():
    from privacyidea.lib.token import init_token

    set_privacyidea_config("yubikey.apiid.1", api_key)
    token = init_token({"type": "yubikey", "serial": "UBAM1", "otpkey": aes_key, "otplen": 44})
    token.write_tokeninfo("yubikey.prefix", public_id)
app.run("127.0.0.1", int(port))
