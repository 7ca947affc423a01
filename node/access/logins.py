"""Proofs that a caller shows besides its address: tokens of an identity provider, passcodes, and links of our own.

Tokens are JWTs (RFC 7519) signed with a key of the provider; passcodes come in User Identity Negotiation (PS3.7
D.3.3.7); a link is short-lived, and opens a session in the browser of whoever follows it.
"""

import hashlib
import hmac
import os
import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from node.errors import NodeError, SettingsError
from node.settings import Settings
from storage.durable import create_locked, folder_names, make_private_folder

SIGNED_BY: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Algorithms of tokens (RFC 7518): signatures only, since what checks a MAC can make one."""
OWN: Final = "HS256"
"""Algorithm of links and sessions, which only the node makes and checks."""
LINK, SESSION = "link", "session"
LEEWAY_S: Final = 30
"""Difference of two clocks that is let pass, seconds."""
KEY_FILE: Final = "link-key"
SPENT: Final = "spent-links"
"""Folder with an empty file for each link that was followed, named by its end and number."""
KEY_BYTES: Final = 32
SCRYPT: Final = {"n": 1 << 14, "r": 8, "p": 1, "dklen": 32}
SALT_BYTES: Final = 16


class UnknownCallerError(NodeError):
    """Nothing in the settings admits this caller."""


class LoginError(UnknownCallerError):
    """A caller must show who it is, or what it showed proves nothing."""


def token_groups(settings: Settings, token: str) -> frozenset[str]:
    """Values of the claim `token_claim` of a token that is genuine, for this node, and in force.

    Raises
    ------
    LoginError
        It is not.
    SettingsError
        `token_keys` cannot be read.
    """
    import jwt

    if settings.token_keys is None:
        raise LoginError("tokens are not accepted: token_keys is not set")
    try:
        claims = jwt.decode(
            token,
            _provider_key(settings.token_keys, settings.token_keys.stat().st_mtime_ns, _key_id(token)),
            algorithms=SIGNED_BY,
            audience=settings.token_audience,
            issuer=settings.token_issuer,
            leeway=LEEWAY_S,
            options={"require": ["exp", "iss", "aud"]},
        )
    except (jwt.PyJWTError, TypeError, ValueError) as error:  # TypeError: a key of another kind than the algorithm's
        raise LoginError(f"the token is not accepted: {type(error).__name__}") from error
    except OSError as error:
        raise SettingsError(f"token_keys {settings.token_keys} cannot be read: {error.strerror}") from error
    found = claims.get(settings.token_claim, ())
    return frozenset({found} if isinstance(found, str) else map(str, found) if isinstance(found, list) else ())


def hashed_passcode(passcode: str) -> str:
    """Text for `passcode` of a caller's entry, from which the passcode cannot be computed (scrypt, RFC 7914)."""
    salt = secrets.token_bytes(SALT_BYTES)
    return f"{salt.hex()}:{hashlib.scrypt(passcode.encode(), salt=salt, **SCRYPT).hex()}"


def is_passcode(passcode: str, hashed: str) -> bool:
    """True if `hashed_passcode` made a text of this passcode; it takes some 50 ms."""
    salt, _, expected = hashed.partition(":")
    found = hashlib.scrypt(passcode.encode("utf-8", "replace"), salt=bytes.fromhex(salt), **SCRYPT)
    return hmac.compare_digest(found, bytes.fromhex(expected))


def sign(settings: Settings, purpose: str, caller: str, minutes: float, **claims: str) -> str:
    """Text that proves for some minutes that the node gave it for a caller.

    Parameters
    ----------
    purpose
        LINK or SESSION.
    """
    import jwt

    ends_s = int(time.time() + 60 * minutes)
    given = {"use": purpose, "sub": caller, "exp": ends_s, "jti": secrets.token_hex(16), **claims}
    return jwt.encode(given, _own_key(settings), OWN)


def signed(settings: Settings, purpose: str, text: str) -> dict[str, Any]:
    """Claims of what `sign` made for a purpose; `sub` is the caller.

    Raises
    ------
    LoginError
        It was not made here or not for this, or its time is over.
    """
    import jwt

    try:
        claims = jwt.decode(text, _own_key(settings), algorithms=[OWN], options={"require": ["exp", "sub", "use"]})
    except jwt.PyJWTError as error:
        raise LoginError(f"the {purpose} is not accepted: {type(error).__name__}") from error
    if claims["use"] != purpose:
        raise LoginError(f"this is no {purpose}")
    return claims


def spend(settings: Settings, claims: Mapping[str, Any]) -> None:
    """Note that a link was followed; what is noted outlives a restart, and goes once the link is over anyway.

    Raises
    ------
    LoginError
        It was followed before, or cannot be told from others: an earlier release made it.
    OSError
        It cannot be noted: the link must not be followed.
    """
    folder, name = settings.run_path / SPENT, str(claims.get("jti", ""))
    make_private_folder(folder)
    for other in folder_names(folder):
        if int(other.partition("-")[0]) < time.time():
            (folder / other).unlink(missing_ok=True)
    if not name:
        raise LoginError("this link cannot be followed once only: make another")
    try:
        (folder / f"{claims['exp']}-{name}").touch(mode=0o600, exist_ok=False)
    except FileExistsError as error:
        raise LoginError("this link was followed before") from error


def _key_id(token: str) -> str:
    import jwt

    return str(jwt.get_unverified_header(token).get("kid", ""))


@lru_cache(maxsize=16)
def _provider_key(path: Path, _changed_ns: int, key_id: str) -> Any:
    """Key of the provider: one of a JWK set (RFC 7517) by its ID, or that of a PEM file; it is read when it changes."""
    import jwt
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    text = path.read_bytes()
    if b"-----BEGIN" in text:
        return load_pem_public_key(text)
    keys = [key for key in jwt.PyJWKSet.from_json(text.decode()).keys if not key_id or key.key_id == key_id]
    if len(keys) != 1:
        raise jwt.InvalidKeyError(f"{len(keys)} keys have this ID")
    return keys[0]


def _own_key(settings: Settings) -> bytes:
    """Key that the processes of this home folder share; made when it is first needed."""
    path = settings.run_path / KEY_FILE
    if not path.exists():
        make_private_folder(settings.run_path)
        temporary = path.with_name(f"{KEY_FILE}.{os.getpid()}")
        with os.fdopen(create_locked(temporary), "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
        with suppress(FileExistsError):  # another process was quicker
            path.hardlink_to(temporary)
        temporary.unlink()
    return path.read_bytes()
