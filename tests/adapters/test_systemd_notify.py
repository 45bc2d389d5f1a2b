"""What the service manager hears, on a real datagram socket."""

from __future__ import annotations

import contextlib
import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from wa_supervisor.adapters.systemd import NotifyPolicy, ServiceManager


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.25

    def __call__(self) -> float:
        return self.now


class Manager:
    """The socket that systemd listens on."""

    def __init__(self, address: str | bytes) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.settimeout(0)

    def heard(self) -> list[str]:
        """Give the messages since the last call; datagrams on this socket are there once they are sent."""
        messages: list[str] = []
        with contextlib.suppress(BlockingIOError):
            while True:
                messages.append(self.socket.recv(4096).decode())
        return messages


@pytest.fixture
def clock() -> Clock:
    """Give a clock that the test moves."""
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give the place of the manager's socket."""
    return tmp_path / "notify"


@pytest.fixture
def manager(path: Path) -> Iterator[Manager]:
    """Give the manager's side of a socket at `path`."""
    listening = Manager(str(path))
    yield listening
    listening.socket.close()


@pytest.fixture
def service(path: Path, manager: Manager, clock: Clock) -> ServiceManager:
    """Give the daemon's side of it."""
    del manager  # it must listen before anything is said
    return ServiceManager({"NOTIFY_SOCKET": str(path)}, monotonic=clock)


def test_each_step_of_the_daemons_life_is_one_message(service: ServiceManager, manager: Manager) -> None:
    service.ready()
    service.watchdog()
    service.reloading()
    service.ready()
    service.stopping()
    service.extend_timeout(2.5)
    assert manager.heard() == [
        "READY=1",
        "WATCHDOG=1",
        "RELOADING=1\nMONOTONIC_USEC=1000250000",
        "READY=1",
        "STOPPING=1",
        "EXTEND_TIMEOUT_USEC=2500000",
    ]


def test_the_clock_of_a_reload_is_the_managers_own(path: Path, manager: Manager) -> None:
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    ServiceManager({"NOTIFY_SOCKET": str(path)}).reloading()
    after = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    (message,) = manager.heard()
    assert before - 1 <= int(message.rpartition("=")[2]) <= after


def test_a_status_is_told_once_and_not_again_until_it_changes(
    service: ServiceManager, manager: Manager, clock: Clock
) -> None:
    service.status("2/2 running")
    clock.now += 60
    service.status("2/2 running")
    service.status("1/2 running,\n1 held")
    assert manager.heard() == ["STATUS=2/2 running", "STATUS=1/2 running, 1 held"]


def test_a_status_that_comes_too_soon_goes_with_the_next_word_after_a_second(
    service: ServiceManager, manager: Manager, clock: Clock
) -> None:
    service.status("one")
    clock.now += 0.5
    service.status("two")
    service.status("three")
    service.watchdog()
    clock.now += 0.5
    service.watchdog()
    service.watchdog()
    assert manager.heard() == ["STATUS=one", "WATCHDOG=1", "WATCHDOG=1\nSTATUS=three", "WATCHDOG=1"]


def test_a_status_that_went_back_to_what_was_told_is_not_told_again(
    service: ServiceManager, manager: Manager, clock: Clock
) -> None:
    service.status("one")
    service.status("two")
    service.status("one")
    clock.now += 1
    service.watchdog()
    assert manager.heard() == ["STATUS=one", "WATCHDOG=1"]


def test_a_long_status_is_cut(path: Path, manager: Manager) -> None:
    policy = NotifyPolicy(status_longest=5)
    ServiceManager({"NOTIFY_SOCKET": str(path)}, policy=policy).status("123456789")
    assert manager.heard() == ["STATUS=12345"]


def test_an_abstract_socket_is_reached() -> None:
    name = f"wa-test-{uuid.uuid4().hex}"
    listening = Manager(b"\0" + name.encode())
    try:
        ServiceManager({"NOTIFY_SOCKET": f"@{name}"}).ready()
        assert listening.heard() == ["READY=1"]
    finally:
        listening.socket.close()


SAYING: list[Callable[[ServiceManager], None]] = [
    ServiceManager.ready,
    ServiceManager.watchdog,
    ServiceManager.reloading,
    ServiceManager.stopping,
    lambda service: service.status("fine"),
    lambda service: service.extend_timeout(1),
]


@pytest.mark.parametrize("say", SAYING)
@pytest.mark.parametrize("address", ["", "/nowhere/notify", "vsock:2:1234", "/" + "x" * 200])
def test_without_a_manager_that_listens_nothing_happens(say: Callable[[ServiceManager], None], address: str) -> None:
    service = ServiceManager({"NOTIFY_SOCKET": address} if address else {})
    say(service)
    assert service.is_present == address.startswith("/")


def test_a_manager_that_reads_nothing_does_not_stop_the_daemon(
    service: ServiceManager, manager: Manager, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    while "service manager not told" not in caplog.text:
        service.watchdog()
    assert set(manager.heard()) == {"WATCHDOG=1"}
    service.ready()
    assert manager.heard() == ["READY=1"]


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"WATCHDOG_USEC": "120000000"}, 60.0),
        ({"WATCHDOG_USEC": "120000000", "WATCHDOG_PID": "42"}, 60.0),
        ({"WATCHDOG_USEC": "120000000", "WATCHDOG_PID": "43"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-5"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_fed_twice_as_often_as_it_must_be(environ: dict[str, str], expected: float | None) -> None:
    assert ServiceManager(environ, pid=42).watchdog_interval == expected


def test_the_watchdog_of_this_process_is_known_by_its_pid() -> None:
    environ = {"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": str(os.getpid())}
    assert ServiceManager(environ).watchdog_interval == 1.0


def test_its_repr_says_whether_there_is_a_manager() -> None:
    assert repr(ServiceManager({})) == "<ServiceManager absent>"
    assert repr(ServiceManager({"NOTIFY_SOCKET": "@x"})) == "<ServiceManager present>"
