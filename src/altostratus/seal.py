"""Seals an instance's secrets for the way through Heat, which keeps software configs in clear.

The result is a Fernet token. Unlike ``Fernet.encrypt`` the same content and key give the same
token, or each update of a stack would configure every instance anew: the initialization vector
is a keyed hash of the content (a synthetic one), and the time is zero. All that equal tokens tell
is that nothing changed.
"""

import base64
import hmac
import json
import secrets
import struct
from typing import Any

from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

_VERSION = b"\x80"
_KEY_BYTES = 32
_BLOCK_BITS = 128


def new_key() -> str:
    """A new Fernet key."""
    return base64.urlsafe_b64encode(secrets.token_bytes(_KEY_BYTES)).decode()


def seal(content: Any, key: str) -> str:
    """The Fernet token of plain data as JSON."""
    raw = base64.urlsafe_b64decode(key)
    signing, encryption = raw[:16], raw[16:]
    plain = json.dumps(content, sort_keys=True).encode()
    vector = hmac.digest(signing, b"altostratus" + plain, "sha256")[:16]
    pad = padding.PKCS7(_BLOCK_BITS).padder()
    cipher = Cipher(algorithms.AES(encryption), modes.CBC(vector)).encryptor()
    padded = pad.update(plain) + pad.finalize()
    body = _VERSION + struct.pack(">Q", 0) + vector + cipher.update(padded) + cipher.finalize()
    return base64.urlsafe_b64encode(body + hmac.digest(signing, body, "sha256")).decode()
