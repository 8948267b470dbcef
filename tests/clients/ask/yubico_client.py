"""yubico-client."""
import sys

from yubico_client import Yubico

url, client_id, key = sys.argv[1:4]
client = Yubico(client_id, key, api_urls=[url])
for line in sys.stdin:
    try:
        said = "yes" if client.verify(line.strip(), timeout=10) is True else "no"
    except Exception as error:
        said = f"no {type(error).__name__} {error}"
    print(" ".join(said.split()), flush=True)
