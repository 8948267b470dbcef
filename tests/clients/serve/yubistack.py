"""yubistack with one client and one token: its tables are those of YK-VAL and YK-KSM."""
import os
import sqlite3
import sys
from wsgiref.simple_server import make_server

port, public_id, private_id, aes_key, api_key = sys.argv[1:]
folder = os.environ["FOLDER"]
tables = {
    "ykval": f"""
        CREATE TABLE clients (id INTEGER, active INTEGER, secret TEXT);
        INSERT INTO clients VALUES (1, 1, '{api_key}');
        CREATE TABLE yubikeys (active INTEGER, created INTEGER, modified INTEGER, yk_publicname TEXT, yk_counter INTEGER,
            yk_use INTEGER, yk_low INTEGER, yk_high INTEGER, nonce TEXT, notes TEXT);
        CREATE TABLE queue (queued INTEGER, modified INTEGER, server_nonce TEXT, otp TEXT, server TEXT, info TEXT);""",
    "ykksm": f"""
        CREATE TABLE yubikeys (active TEXT, publicname TEXT, internalname TEXT, aeskey TEXT);
        INSERT INTO yubikeys VALUES ('1', '{public_id}', '{private_id}', '{aes_key}');""",
}
for name, statements in tables.items():
    with sqlite3.connect(f"{folder}/{name}") as database:
        database.executescript(statements)
databases = {name: {"ENGINE": "sqlite", "NAME": f"{folder}/{name}"} for name in tables}
with open(f"{folder}/settings", "w") as settings:
    settings.write(f"DATABASES = {databases!r}\nUSE_NATIVE_YKKSM = True\nSYSLOG_WSGI_AUTH = False\n")
    settings.write(f"LOGFILE = '{folder}/log'\n")
os.environ["YUBISTACK_SETTINGS"] = f"{folder}/settings"
from yubistack.wsgi import router

make_server("127.0.0.1", int(port), router).serve_forever()
