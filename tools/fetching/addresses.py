"""Which addresses a page may be fetched from: public web servers, by name or number, and nothing else."""

from __future__ import annotations

import ipaddress
import re

import httpx

PORTS = frozenset({80, 443, 8080, 8443})
"""Where web servers listen; others are mail servers, databases, printers."""

_LOCAL_NAMES = frozenset(
    {"localhost", "local", "internal", "intranet", "lan", "home", "corp", "private", "arpa", "onion"}
)
_NAME = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_LONGEST = 2_000

_IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# Addresses that stand for others: IPv4 written as IPv6 in the ways that a resolver never needs, 6to4, Teredo, site-local.
# And what some Python versions take for public: documentation, and the protocol assignments of IANA's registries.
_REFUSED = [
    ipaddress.IPv6Network(n)
    for n in ("::/96", "::ffff:0:0/96", "2002::/16", "2001::/23", "fec0::/10", "3fff::/20", "5f00::/16")
]
# The same in IPv4, with the retired 6to4 relays, and the address at which Azure's hosts serve their guests.
_REFUSED_V4 = [ipaddress.IPv4Network(n) for n in ("192.0.0.0/24", "192.88.99.0/24", "168.63.129.16/32")]


class Refused(Exception):
    """An address that is not fetched; the text says why, as the rest of a sentence."""


def page_url(text: str) -> httpx.URL:
    """The address of a page, if it may be one; its fragment is dropped. Nothing is resolved or sent.

    Raises `Refused` for another scheme than http and https, credentials, an unusual port, names of local networks,
    numeric hosts that are no plain IP address (decimal, octal, hexadecimal, short forms), and IP addresses that are not
    public.
    """
    if len(text) > _LONGEST:
        raise Refused("the address is too long")
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, ValueError, UnicodeError):
        raise Refused("the address is malformed") from None
    if url.scheme not in {"http", "https"}:
        raise Refused(f"{url.scheme or 'no'} addresses are not fetched")
    if url.userinfo:
        raise Refused("the address holds credentials")
    host = url.raw_host.decode("ascii").removesuffix(".")
    if not host:
        raise Refused("the address names no host")
    if port_of(url) not in PORTS:
        raise Refused(f"port {url.port} is not a web server's")
    _check_host(host)
    url = url.copy_with(fragment=None)
    return url.copy_with(host=host) if url.raw_host.endswith(b".") else url


def port_of(url: httpx.URL) -> int:
    """The port, that of the scheme if the address names none."""
    return url.port or (443 if url.scheme == "https" else 80)


def _check_host(host: str) -> None:
    try:
        check_ip(host)
        return
    except ValueError:
        pass  # a name, or what looks like one
    host = host.lower()
    if _NAME.fullmatch(host) is None:
        raise Refused("the address is malformed")
    labels = host.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        raise Refused("the host is a number in disguise")
    if len(labels) < 2 or labels[-1] in _LOCAL_NAMES:
        raise Refused("the host is of a local network")


def check_ip(text: str) -> _IPAddress:
    """The address in `text`, if it is public. Raises `Refused` if not, `ValueError` if it is no address."""
    address = ipaddress.ip_address(text)
    judged: _IPAddress = address
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id or any(address in network for network in _REFUSED):
            raise Refused("the address is not public")
        if address in _NAT64:  # the way to IPv4 servers in networks without IPv4
            judged = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if isinstance(judged, ipaddress.IPv4Address) and any(judged in network for network in _REFUSED_V4):
        raise Refused("the address is not public")
    if not judged.is_global or judged.is_multicast or judged.is_reserved:
        raise Refused("the address is not public")
    return address
