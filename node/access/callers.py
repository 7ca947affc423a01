"""Who calls: from AE title, address and certificate to rights. What is not listed is unknown."""

import ipaddress
import socket
import ssl
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final, Protocol

from node.access.audit_trail import AuditTrail
from node.access.logins import SESSION, LoginError, UnknownCallerError, is_passcode, signed, token_groups
from node.access.rates import RateLimits
from node.errors import Refusal, Status
from node.options.access import THIS_MACHINE, CallerEntry, Disclosure, Right
from node.options.certificate_names import Attributes, peer_attributes, subject_attributes
from node.settings import Settings

RATES_FILE: Final = "rates"
COUNTED: Final = frozenset({Right.FIND, Right.SIMILAR, Right.RETRIEVE, Right.ASK})
"""Rights whose use counts against `requests_per_minute`; back-pressure holds senders of images."""


NAMING: Final = frozenset({Right.RETRIEVE, Right.ASK})
"""Rights of no use to a caller from whom identity is kept: images of the PACS and answers by sending hold it."""


class RateExceededError(Refusal):
    """A caller began too many requests within a minute."""

    def __init__(self) -> None:
        super().__init__(Status.OUT_OF_RESOURCES, "too many requests within a minute: retry later")


class Allowance(Protocol):
    """The requests that a caller may still begin."""

    def take(self, name: str) -> bool:
        """Take one; False if none is left."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a connection comes from.

    Attributes
    ----------
    address
        Address of the peer, "" if it is no address of a network.
    certificate
        Attributes of the subject of the peer's verified certificate; None without TLS or certificate.
    token
        JWT that it shows; "" for none.
    login
        Name and passcode that it shows.
    """

    address: str
    certificate: Attributes | None = None
    token: str = field(default="", repr=False)
    login: tuple[str, str] | None = field(default=None, repr=False)

    @classmethod
    def of(cls, connection: socket.socket) -> "Origin":
        """Return the origin of a connection whose handshake, if it has one, is over."""
        name: Any = connection.getpeername()
        address = str(name[0]) if isinstance(name, tuple) else ""
        if not isinstance(connection, ssl.SSLSocket):
            return cls(address)
        certificate: Any = connection.getpeercert()
        return cls(address, peer_attributes(certificate["subject"]) if certificate else None)


@dataclass(frozen=True, slots=True)
class Caller:
    """A known caller, and what it may do.

    Attributes
    ----------
    name
        Name of its table in the settings.
    allowance
        Counts its requests; None: they are not limited.
    on_denial
        Called with the reason when it wants what it may not have.
    """

    name: str
    rights: frozenset[Right] = frozenset()
    disclosure: Disclosure = Disclosure.BLIND
    allowance: Allowance | None = field(default=None, compare=False)
    on_denial: Callable[[str], None] | None = field(default=None, compare=False)

    def check(self, *needed: Right) -> None:
        """Raise a refusal (0124) unless the caller has one of some rights."""
        if self.disclosure is not Disclosure.FULL:
            usable = [right for right in needed if right not in NAMING]
            if needed and not usable:
                raise self._denial("what this would send names patients: FULL only")
            needed = tuple(usable)
        if self.rights.isdisjoint(needed):
            names = " or ".join(needed)
            raise self._denial(f"{names}: this caller has not the right to")

    def _denial(self, reason: str) -> Refusal:
        if self.on_denial is not None:
            self.on_denial(reason)
        return Refusal(Status.NOT_AUTHORIZED, reason)

    def begin(self, *needed: Right) -> None:
        """Check that the caller may begin a request that needs one of some rights, and count the request.

        Raises
        ------
        Refusal
            0124: it has none of these rights. A700: it began too many within a minute.
        OSError
            They cannot be counted: the request must not be served.
        """
        self.check(*needed)
        if self.allowance is not None and not COUNTED.isdisjoint(needed) and not self.allowance.take(self.name):
            raise RateExceededError


NOBODY: Final = Caller("nobody")
"""Who has no right at all; C-ECHO needs none."""
OWN_PROGRAMS: Final = Caller("this machine", frozenset(Right), Disclosure.FULL)
"""Programs of this machine where the settings name no caller, and the node itself."""


class Callers:
    """The callers of the settings.

    Attributes
    ----------
    trail
        Records who was not let in, and who wanted what it may not have.

    Raises
    ------
    OSError
        The file in which requests are counted cannot be made.
    """

    def __init__(self, settings: Settings, trail: AuditTrail) -> None:
        self._settings, self.trail = settings, trail
        limits = {name: entry.requests_per_minute for name, entry in settings.callers.items()}
        limits = {name: limit for name, limit in limits.items() if limit}
        self._rates = RateLimits(settings.run_path / RATES_FILE, limits) if limits else None

    def of_association(self, calling_ae_title: str, origin: Origin) -> Caller:
        """Return the caller that requests an association.

        Raises
        ------
        UnknownCallerError
            No entry fits its AE title, address, certificate, token or passcode.
        """
        return self._watched(calling_ae_title, origin.address, lambda: self._associating(calling_ae_title, origin))

    def of_request(self, origin: Origin) -> Caller:
        """Return the caller that sends an HTTP request.

        Raises
        ------
        LoginError
            Its token is not accepted, or it shows none where one is needed.
        UnknownCallerError
            No entry that may use the web fits its address and certificate.
        """
        return self._watched("HTTP client", origin.address, lambda: self._requesting(origin))

    def of_session(self, session: str, address: str) -> Caller:
        """Return the caller for whom a link was made that opened a session.

        Raises
        ------
        LoginError
            The session is over.
        UnknownCallerError
            Its entry is gone, or the address is none of its networks.
        """
        return self._watched("session", address, lambda: self._in_session(session, address))

    def _watched(self, name: str, address: str, find: Callable[[], Caller]) -> Caller:
        """A caller whose denials become audit messages, as an unknown one becomes one now."""
        try:
            caller = find()
        except UnknownCallerError as error:
            self.trail.rejected(name, address, str(error))
            raise
        return replace(caller, on_denial=partial(self.trail.denied, caller.name, address))

    def _associating(self, calling_ae_title: str, origin: Origin) -> Caller:
        if not self._settings.callers:
            if is_within(origin.address, THIS_MACHINE):
                return OWN_PROGRAMS
            raise UnknownCallerError("no caller is set: add it to callers in the settings")
        try:
            return self._known(origin, lambda entry: calling_ae_title in entry.ae_titles)
        except UnknownCallerError:
            if calling_ae_title == self._settings.ae_title.strip() and is_within(origin.address, THIS_MACHINE):
                return NOBODY  # `lookalike check` sends a C-ECHO
            raise

    def _requesting(self, origin: Origin) -> Caller:
        address = origin.address
        if not self._settings.callers:
            if is_within(address, self._settings.dicomweb_networks):
                return OWN_PROGRAMS
            if is_within(address, THIS_MACHINE):
                return Caller(OWN_PROGRAMS.name, frozenset({Right.SIMILAR}), Disclosure.MASKED)
            raise UnknownCallerError("no caller is set: add it to callers in the settings")
        try:
            return self._known(origin, lambda entry: entry.web)
        except LoginError:
            raise
        except UnknownCallerError as error:
            if any(entry.web and entry.token for entry in self._settings.callers.values()):
                raise LoginError("show a token: no entry of callers fits without one") from error
            raise

    def _in_session(self, session: str, address: str) -> Caller:
        name = str(signed(self._settings, SESSION, session)["sub"])
        entry = self._settings.callers.get(name)
        if entry is None or not entry.web or not is_within(address, entry.networks):
            raise UnknownCallerError("the session is of no caller that may use the web from this address")
        return self._as_caller(name, entry)

    def _known(self, origin: Origin, is_meant: Callable[[CallerEntry], bool]) -> Caller:
        groups = token_groups(self._settings, origin.token) if origin.token else frozenset()
        fitting = [
            (name, entry)
            for name, entry in self._settings.callers.items()
            if is_meant(entry) and _fits(entry, origin, groups) and _has_passcode(name, entry, origin)
        ]
        if not fitting:
            raise UnknownCallerError("not in callers of the settings, with this address and what it shows")
        # of several entries that fit the one that asks for most says most
        return self._as_caller(*max(fitting, key=lambda pair: _proofs(pair[1])))

    def _as_caller(self, name: str, entry: CallerEntry) -> Caller:
        allowance = self._rates if entry.requests_per_minute else None
        return Caller(name, frozenset(entry.rights), entry.disclosure, allowance)


def has_right_by_title(settings: Settings, calling_ae_title: str, right: Right) -> bool:
    """Return True if every caller that may use an AE title has a right; False if there is none."""
    if not settings.callers:
        return True
    entries = [entry for entry in settings.callers.values() if calling_ae_title in entry.ae_titles]
    return bool(entries) and all(right in entry.rights for entry in entries)


def is_within(address: str, networks: Collection[str]) -> bool:
    """Return True if an address lies in one of some ranges; what is no address lies in none."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None) or parsed  # how IPv4 clients look on a socket of IPv6
    return any(mapped in network for network in _networks(networks) if network.version == mapped.version)


def _networks(networks: Collection[str]) -> Iterator[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    return map(ipaddress.ip_network, networks)


def _fits(entry: CallerEntry, origin: Origin, groups: frozenset[str]) -> bool:
    if not is_within(origin.address, entry.networks) or (entry.token and entry.token not in groups):
        return False
    return not entry.certificate or origin.certificate == subject_attributes(entry.certificate)


def _has_passcode(name: str, entry: CallerEntry, origin: Origin) -> bool:
    if not entry.passcode:
        return True
    return origin.login is not None and origin.login[0] == name and is_passcode(origin.login[1], entry.passcode)


def _proofs(entry: CallerEntry) -> int:
    return sum(map(bool, (entry.certificate, entry.token, entry.passcode)))
