"""Only public web servers, whatever way an address is written."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webrec.tools.fetching.addresses import Refused, check_ip, page_url, port_of

REFUSED = [
    "http://127.0.0.1/",
    "http://127.8.8.8/",
    "http://127.0.0.1./",
    "http://localhost/",
    "http://LOCALHOST/",
    "http://a.localhost/",
    "http://2130706433/",
    "http://0177.0.0.1/",
    "http://0x7f.0.0.1/",
    "http://0x7f.1/",
    "http://0x7f000001/",
    "http://127.1/",
    "http://127.0.1/",
    "http://017700000001/",
    "http://1.2.3.0x4/",
    "http://example.com.1/",
    "http://0/",
    "http://0.0.0.0/",
    "http://10.0.0.1/",
    "http://172.16.5.4/",
    "http://192.168.1.1/",
    "http://169.254.169.254/latest/meta-data/",
    "http://100.64.0.1/",
    "http://100.127.255.254/",
    "http://192.0.0.1/",
    "http://192.0.2.1/",
    "http://198.18.0.1/",
    "http://198.51.100.7/",
    "http://203.0.113.9/",
    "http://224.0.0.1/",
    "http://239.1.1.1/",
    "http://240.0.0.1/",
    "http://255.255.255.255/",
    "http://[::1]/",
    "http://[::]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://[::ffff:8.8.8.8]/",
    "http://[::127.0.0.1]/",
    "http://[64:ff9b::7f00:1]/",
    "http://[64:ff9b:1::1]/",
    "http://[2002:7f00:1::]/",
    "http://[2001:0:7f00:1::]/",
    "http://[fe80::1]/",
    "http://[fe80::1%25eth0]/",
    "http://[fc00::1]/",
    "http://[fd12::1]/",
    "http://[fec0::1]/",
    "http://[ff02::1]/",
    "http://[ff0e::1]/",
    "http://[2001:db8::1]/",
    "http://[100::1]/",
    "http://①②⑦.⓪.⓪.①/",
    "http://127。0。0。1/",
    "http://١٢٧.0.0.1/",
    "http://intranet/",
    "http://router.local/",
    "http://db.internal/",
    "http://x.home.arpa/",
    "http://x.onion/",
    "http://user@example.com/",
    "http://user:secret@example.com/",
    "http://:@example.com/",
    "http://example.com:22/",
    "http://example.com:25/",
    "http://example.com:6379/",
    "http://example.com:99999/",
    "file:///etc/passwd",
    "ftp://example.com/",
    "gopher://example.com/",
    "javascript:alert(1)",
    "data:text/html,x",
    "ws://example.com/",
    "//example.com/",
    "example.com",
    "http:///x",
    "http://ex%20ample.com/",
    "http://a..b/",
    "http://[::1",
    "http://exa%0d%0ample.com/",
]

ADMITTED = {
    "http://example.com/a?b=c#d": "http://example.com/a?b=c",
    "https://example.com./": "https://example.com/",
    "HTTPS://EXAMPLE.com:443/A": "https://example.com/A",
    "http://example.com:8080/": "http://example.com:8080/",
    "https://bücher.de/ä": "https://xn--bcher-kva.de/%C3%A4",
    "http://8.8.8.8/": "http://8.8.8.8/",
    "http://[2606:4700::1111]/": "http://[2606:4700::1111]/",
    "http://[64:ff9b::808:808]/": "http://[64:ff9b::808:808]/",
    "http://3com.example/": "http://3com.example/",
    "http://a_b.example.com/": "http://a_b.example.com/",
}


@pytest.mark.parametrize("text", [*REFUSED, "http://example.com/\r\nX: y", "http://example.com/" + "a" * 3000, ""])
def test_refused(text: str) -> None:
    with pytest.raises(Refused) as refused:
        page_url(text)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(("text", "address"), ADMITTED.items())
def test_admitted(text: str, address: str) -> None:
    assert str(page_url(text)) == address


def test_port_of() -> None:
    assert [port_of(page_url(u)) for u in ("http://a.example", "https://a.example", "http://a.example:8443")] == [
        80,
        443,
        8443,
    ]


PRIVATE = [
    ipaddress.ip_network(n) for n in ("10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16")
]


@given(st.sampled_from(PRIVATE).flatmap(lambda n: st.ip_addresses(network=str(n))))
def test_private_addresses_in_every_form(address: ipaddress.IPv4Address) -> None:
    number = int(address)
    octets = [number >> s & 255 for s in (24, 16, 8, 0)]
    inside = [f"[{p}{octets[0]:x}{octets[1]:02x}:{octets[2]:x}{octets[3]:02x}]" for p in ("::", "::ffff:", "64:ff9b::")]
    numbers = [
        str(number),
        hex(number),
        f"0{number:o}",
        ".".join(map(hex, octets)),
        ".".join(f"0{o:o}" for o in octets),
    ]
    for host in (str(address), f"{address}.", *inside, *numbers, f"{octets[0]}.{number & 0xFFFFFF}"):
        with pytest.raises(Refused):
            page_url(f"http://{host}/")


@given(st.ip_addresses(v=4) | st.ip_addresses(v=6))
def test_an_admitted_address_is_global(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    try:
        admitted = check_ip(str(address))
    except Refused:
        return
    assert admitted == address
    assert address.is_global
    assert not address.is_multicast


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    for candidate in (text, f"http://{text}", f"https://{text}/", f"http://example.com/{text}"):
        try:
            url = page_url(candidate)
        except Refused:
            continue
        assert url.scheme in {"http", "https"}
        assert not url.userinfo
        assert str(url).isascii()
        assert page_url(str(url)) == url
