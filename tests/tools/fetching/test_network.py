"""The address that was checked is the one that is connected to."""

from __future__ import annotations

import httpcore
import pytest

from webrec.tools.fetching.addresses import Refused
from webrec.tools.fetching.network import GuardedNetwork


class Net:
    """Answers of a resolver, and what was connected to."""

    def __init__(self, *answers: list[str], down: set[str] = frozenset()) -> None:  # type: ignore[assignment]
        self.answers = list(answers)
        self.down = down
        self.connected: list[str] = []

    async def resolve(self, host: str, port: int) -> list[str]:
        if not self.answers:
            raise OSError("no such name")
        return self.answers.pop(0)

    async def connect(self, address: str, port: int, seconds: float | None) -> httpcore.AsyncNetworkStream:
        assert seconds is not None
        assert seconds <= 4
        self.connected.append(address)
        if address in self.down:
            raise httpcore.ConnectError("down")
        return httpcore.AsyncMockStream([])

    async def open(self, host: str = "site.example", seconds: float | None = None) -> httpcore.AsyncNetworkStream:
        return await GuardedNetwork(self.resolve, self.connect).connect_tcp(host, 80, seconds)


@pytest.mark.parametrize(
    "answer",
    [
        ["127.0.0.1"],
        ["8.8.8.8", "10.0.0.1"],
        ["8.8.8.8", "::1"],
        ["169.254.169.254"],
        ["::ffff:127.0.0.1"],
        ["fe80::1%2"],
        ["100.64.0.1"],
        ["0.0.0.0"],
        ["192.0.0.192"],
        ["192.88.99.1"],
        ["168.63.129.16"],
        ["64:ff9b::a83f:8110"],
        ["3fff::1"],
        ["5f00::1"],
        ["no address"],
    ],
)
async def test_a_name_that_stands_for_a_private_address_is_never_connected_to(answer: list[str]) -> None:
    net = Net(answer)
    with pytest.raises(Refused):
        await net.open()
    assert net.connected == []


async def test_a_name_is_resolved_once_so_that_it_cannot_change_its_mind() -> None:
    net = Net(["8.8.8.8"], ["127.0.0.1"])
    await net.open()
    assert net.connected == ["8.8.8.8"]
    with pytest.raises(Refused):
        await net.open()
    assert net.connected == ["8.8.8.8"]


async def test_the_next_address_is_tried_and_not_all_of_many() -> None:
    net = Net(["8.8.8.8", "2606:4700::1"], down={"8.8.8.8"})
    await net.open(seconds=9)
    assert net.connected == ["8.8.8.8", "2606:4700::1"]
    many = [f"8.8.8.{n}" for n in range(1, 30)]
    net = Net(many, down=set(many))
    with pytest.raises(httpcore.ConnectError):
        await net.open()
    assert net.connected == many[:4]


async def test_no_address_is_a_failed_connection() -> None:
    for net in (Net(), Net([])):
        with pytest.raises(httpcore.ConnectError):
            await net.open()


async def test_no_unix_sockets() -> None:
    with pytest.raises(Refused):
        await GuardedNetwork().connect_unix_socket("/var/run/docker.sock")
