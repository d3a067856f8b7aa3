import socket

from filtering.runtime import ports
from filtering.runtime.ports import RANGE, free_ports


def test_ports_are_different_and_free():
    found = free_ports(5)
    assert len(set(found)) == 5
    assert set(found) <= set(RANGE)
    for port in found:
        with socket.socket() as listener:
            listener.bind(("", port))


def test_a_port_that_somebody_has_is_not_given(monkeypatch):
    taken, left = free_ports(2)
    monkeypatch.setattr(ports, "RANGE", [taken, left])
    monkeypatch.setattr(ports, "TRIED", 2)
    with socket.socket() as listener:
        listener.bind(("", taken))
        assert free_ports(1) == [left]
