"""A privacyIDEA with an empty database."""
import os

folder = os.environ["FOLDER"]
with open(f"{folder}/pi.cfg", "w") as settings:
    settings.write(f"""
SQLALCHEMY_DATABASE_URI = "sqlite:///{folder}/db"
SECRET_KEY = "a test's"
PI_PEPPER = "a test's"
PI_ENCFILE = "{folder}/enckey"
PI_AUDIT_MODULE = "privacyidea.lib.auditmodules.base"
PI_LOGFILE = "{folder}/log"
""")
with open(f"{folder}/enckey", "wb") as key:
    key.write(os.urandom(96))
from privacyidea.app import create_app
from privacyidea.models import db

app = create_app(config_name="production", config_file=f"{folder}/pi.cfg", silent=True)
with app.app_context():
    from privacyidea.lib.config import set_privacyidea_config

    db.create_all()
