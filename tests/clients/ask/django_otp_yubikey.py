"""django-otp-yubikey: its RemoteYubikeyDevice, without a database under it."""
import sys

import django
from django.conf import settings

settings.configure(
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django_otp", "otp_yubikey"],
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
)
django.setup()
from otp_yubikey.models import RemoteYubikeyDevice, ValidationService

url, client_id, key = sys.argv[1:4]
service = ValidationService(name="ykvald", api_id=int(client_id), api_key=key, base_url=url)
for line in sys.stdin:
    otp = line.strip()
    try:
        device = RemoteYubikeyDevice(service=service, public_id=otp[:-32])
        said = "yes" if device.verify_token(otp) is True else "no"
    except Exception as error:
        said = f"no {type(error).__name__} {error}"
    print(" ".join(said.split()), flush=True)
