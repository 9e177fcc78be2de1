import socket

from holdfast.net.refusal import RefusalProbe


def test_a_port_without_listener_is_refused_and_one_with_a_silent_listener_is_not() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        probe = RefusalProbe("127.0.0.1", port)
        assert [probe.refuses("127.0.0.1") for _ in range(3)] == [False] * 3
    asked = RefusalProbe("127.0.0.1", port)
    assert any(asked.refuses("127.0.0.1") for _ in range(5))
    assert any(probe.refuses("127.0.0.1") for _ in range(5)), "the same socket notices when the listener goes"
    probe.close()
    asked.close()


def test_an_unreachable_address_is_no_refusal() -> None:
    probe = RefusalProbe("127.0.0.1", 9)
    assert not any(probe.refuses("not an address") for _ in range(2))
    probe.close()
