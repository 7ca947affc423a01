"""Tokens of an identity provider, passcodes, sessions: what is genuine is taken, and everything else is not."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pynetdicom.pdu_primitives import UserIdentityNegotiation
from typer.testing import CliRunner

from node.access.audit_trail import AuditTrail
from node.access.callers import Callers, Origin
from node.access.logins import LINK, SESSION, LoginError, UnknownCallerError, hashed_passcode, is_passcode, sign, signed
from node.cli.main import app
from node.dicom.association_request import AssociationRequest
from node.settings import Settings

KEY, OTHER = rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP256R1())
GENUINE: dict[str, Any] = {"iss": "https://login.hospital", "aud": "lookalike", "sub": "anna", "groups": ["readers"]}
PASSCODE = "correct horse battery"
HERE = "127.0.0.1"


def jwk(key: Any, name: str) -> dict[str, Any]:
    algorithm = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
    public: dict[str, Any] = json.loads(algorithm.to_jwk(key.public_key()))
    return public | {"kid": name, "use": "sig"}


def token(key: Any = KEY, algorithm: str = "RS256", name: str = "one", **changes: Any) -> str:
    claims = {"exp": time.time() + 60, **GENUINE, **changes}
    given = {claim: value for claim, value in claims.items() if value is not None}
    return jwt.encode(given, key, algorithm, headers={"kid": name})


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "keys.json").write_text(json.dumps({"keys": [jwk(KEY, "one"), jwk(OTHER, "two")]}))
    entries = {
        "readers": {"web": True, "ae_titles": ["WS1"], "token": "readers", "rights": ["similar"]},
        "ws": {"ae_titles": ["WS1"], "passcode": hashed_passcode(PASSCODE), "rights": ["find", "similar"]},
    }
    return Settings(
        home=tmp_path / "home", callers=entries, token_keys=tmp_path / "keys.json", token_claim="groups",
        token_issuer=str(GENUINE["iss"]), token_audience="lookalike",
    )  # fmt: skip


@pytest.fixture
def callers(settings: Settings) -> Callers:
    return Callers(settings, AuditTrail(settings, "test"))


def test_a_genuine_token_names_the_caller_of_its_group(callers: Callers) -> None:
    for genuine in (token(), token(OTHER, "ES256", "two"), token(groups="readers"), token(groups=["x", "readers"])):
        assert callers.of_request(Origin(HERE, token=genuine)).name == "readers"


@pytest.mark.parametrize(
    "make",
    [
        lambda: token(exp=time.time() - 60),
        lambda: token(exp=None),
        lambda: token(iss="https://elsewhere"),
        lambda: token(iss=None),
        lambda: token(aud="another"),
        lambda: token(aud=None),
        lambda: token(nbf=time.time() + 600),
        lambda: token(OTHER, "ES256"),  # signed with another key than it names
        lambda: token(name="three"),
        lambda: token(rsa.generate_private_key(65537, 2048)),
        lambda: token()[:-4] + "AAAA",
        lambda: jwt.encode({**GENUINE, "exp": time.time() + 60}, "", "none"),
        lambda: jwt.encode({**GENUINE, "exp": time.time() + 60}, "k" * 32, "HS256", headers={"kid": "one"}),
        lambda: "no.token.at-all",
        lambda: "x",
    ],
)
def test_what_is_no_genuine_token_lets_nobody_in(callers: Callers, make: Callable[[], str]) -> None:
    with pytest.raises(LoginError, match="is not accepted"):
        callers.of_request(Origin(HERE, token=make()))
    with pytest.raises(LoginError):
        callers.of_association("WS1", Origin(HERE, token=make()))


def test_a_token_of_another_group_or_from_elsewhere_and_none_are_to_log_in(callers: Callers) -> None:
    for origin in (Origin(HERE, token=token(groups=["x"])), Origin("10.0.0.1", token=token()), Origin(HERE)):
        with pytest.raises(LoginError, match="show a token"):
            callers.of_request(origin)


def test_a_key_of_a_pem_file_is_taken_and_a_new_one_when_the_file_changes(settings: Settings, callers: Callers) -> None:
    assert settings.token_keys is not None
    for key, algorithm in ((KEY, "RS256"), (OTHER, "ES256")):
        pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        settings.token_keys.write_bytes(pem)
        assert callers.of_request(Origin(HERE, token=token(key, algorithm))).name == "readers"
    with pytest.raises(LoginError):
        callers.of_request(Origin(HERE, token=token(KEY)))


def asked_with(kind: int, first: bytes, second: bytes = b"", *, wants_response: bool = False) -> AssociationRequest:
    """An association request with a user identity."""
    identity = UserIdentityNegotiation()
    identity.user_identity_type, identity.primary_field, identity.secondary_field = kind, first, second
    identity.positive_response_requested = wants_response
    return AssociationRequest(1, "LOOKALIKE", "WS1", "", (), (identity,), ())


def test_user_identity_brings_a_passcode_or_a_token(callers: Callers) -> None:
    for request, name in (
        (asked_with(2, b"ws", PASSCODE.encode()), "ws"),
        (asked_with(5, token().encode()), "readers"),
    ):
        assert callers.of_association("WS1", request.shown_by(Origin(HERE))).name == name
    for kind, first, second in (
        (2, b"ws", b"wrong"),
        (2, b"readers", PASSCODE.encode()),
        (1, b"ws", b""),
        (3, b"x", b""),
    ):
        with pytest.raises(UnknownCallerError):
            callers.of_association("WS1", asked_with(kind, first, second).shown_by(Origin(HERE)))
    assert len(list(asked_with(2, b"ws", b"x", wants_response=True).identity_responses())) == 1
    assert list(asked_with(1, b"ws", wants_response=True).identity_responses()) == []
    assert PASSCODE not in repr(asked_with(2, b"ws", PASSCODE.encode()).shown_by(Origin(HERE)))


def test_the_command_makes_what_a_passcode_is_compared_with() -> None:
    made = CliRunner().invoke(app, ["passcode", "--passcode", PASSCODE], catch_exceptions=False).output
    hashed = made.split('"')[1]

    assert is_passcode(PASSCODE, hashed)
    assert not is_passcode(PASSCODE + "x", hashed)
    assert PASSCODE not in made


def test_a_session_is_good_for_its_caller_its_purpose_and_its_time(settings: Settings, callers: Callers) -> None:
    assert callers.of_session(sign(settings, SESSION, "readers", 1), HERE).name == "readers"
    for text, address in (
        (sign(settings, LINK, "readers", 1), HERE),
        (sign(settings, SESSION, "readers", -1), HERE),
        (sign(settings, SESSION, "ws", 1), HERE),
        (sign(settings, SESSION, "gone", 1), HERE),
        (sign(settings, SESSION, "readers", 1), "10.0.0.1"),
        (token(), HERE),
        ("", HERE),
    ):
        with pytest.raises(UnknownCallerError):
            callers.of_session(text, address)
    elsewhere = settings.model_copy(update={"home": settings.home.parent / "other"})
    with pytest.raises(LoginError):
        signed(elsewhere, SESSION, sign(settings, SESSION, "readers", 1))
