"""yubival with one client and one token."""
import os
import sys
from wsgiref.simple_server import make_server

import django
from django.conf import settings
from django.core.management import call_command

port, public_id, private_id, aes_key, api_key = sys.argv[1:]
settings.configure(
    INSTALLED_APPS=["yubival"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["FOLDER"] + "/db"}},
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    ROOT_URLCONF="yubival.urls",
    ALLOWED_HOSTS=["*"],
    SECRET_KEY="a test's",
    USE_TZ=True,
)
django.setup()
call_command("migrate", verbosity=0)
from django.core.wsgi import get_wsgi_application
from yubival.models import APIKey, Device

APIKey.objects.create(id=1, label="host", key=api_key)
Device.objects.create(label="alice", public_id=public_id, private_id=private_id, key=aes_key)
make_server("127.0.0.1", int(port), get_wsgi_application()).serve_forever()
