"""Writes PSKC files by python-pskc, each with two keys: make_pskc.py FOLDER"""

import sys
from pskc import PSKC

FOLDER = sys.argv[1]
PROTOCOL = 'urn:ietf:params:xml:ns:keyprov:pskc:'


def container():
    made = PSKC()
    made.add_key(id='first', serial='1000001', manufacturer='Acme', issuer='Issuer', algorithm=PROTOCOL + 'hotp',
                 secret=b'12345678901234567890', counter=42, response_length=8, response_encoding='DECIMAL')
    made.add_key(id='second', serial='1000002', algorithm=PROTOCOL + 'totp', algorithm_suite='HMAC-SHA256',
                 secret=b'12345678901234567890123456789012', time_interval=60, time_drift=-2, response_length=6,
                 response_encoding='DECIMAL')
    return made


container().write(FOLDER + '/plain.xml')
for bits in (128, 192, 256):
    for mac in ('hmac-sha1', 'hmac-sha224', 'hmac-sha256', 'hmac-sha384', 'hmac-sha512'):
        made = container()
        made.encryption.setup_preshared_key(key=bytes(range(bits // 8)), key_name='Key', algorithm='aes%d-cbc' % bits)
        made.mac.setup(algorithm=mac)
        made.write(FOLDER + '/key-%d-%s.xml' % (bits // 8, mac))
for prf in ('hmac-sha1', 'hmac-sha224', 'hmac-sha256', 'hmac-sha384', 'hmac-sha512'):
    made = container()
    made.encryption.setup_pbkdf2('correct horse', iterations=2000, prf=prf, key_length=32, algorithm='aes256-cbc')
    made.write(FOLDER + '/password-%s.xml' % prf)
made = container()
made.encryption.setup_pbkdf2('correct horse')
made.write(FOLDER + '/password.xml')
