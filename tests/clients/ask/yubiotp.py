"""YubiOTP, as PyPI and Debian have it. It wants the key's bytes."""
import base64
import sys

from yubiotp.client import YubiClient20

url, client_id, key = sys.argv[1:4]
client = YubiClient20(int(client_id), base64.b64decode(key), timestamp=True)
client.base_url = url
for line in sys.stdin:
    try:
        reply = client.verify(line.strip())
        said = "yes" if reply.is_ok() else f"no {reply.status()}"
    except Exception as error:
        said = f"no {type(error).__name__} {error}"
    print(" ".join(said.split()), flush=True)
