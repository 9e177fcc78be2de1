"""Packets between agent and guard."""

import pytest

from holdfast.fencing.guard import messages


def test_a_request_survives_the_wire():
    request = {"id": 1, "do": "deadline", "D": 12.5, "G": 3}
    assert messages.check_request(messages.decode(messages.encode(request))) == {**request, "G": 3.0}


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b'{"do":"idle"}',
        b'{"id":"1","do":"idle"}',
        b'{"id":1,"do":"reboot"}',
        b'{"id":1,"do":"deadline","D":12}',
        b'{"id":1,"do":"deadline","D":NaN,"G":1}',
        b'{"id":1,"do":"deadline","D":Infinity,"G":1}',
        b'{"id":1,"do":"deadline","D":-1,"G":1}',
        b'{"id":1,"do":"deadline","D":true,"G":1}',
        b'{"id":1,"do":"farewell","restart":1}',
        b'{"id":1,"do":"hello","session":"s","W":"6","p":1}',
    ],
)
def test_what_is_not_of_the_protocol_is_refused(packet):
    with pytest.raises(messages.BadMessage):
        messages.check_request(messages.decode(packet))
