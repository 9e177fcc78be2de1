"""The Redfish client against the lab's BMC: trust, errors that say what to do, sessions, systems."""

import hashlib
import ssl

import pytest

from holdfast.core.model import FenceDeviceSpec
from holdfast.errors import FenceError, InvalidInput
from holdfast.fencing.power.memory import MemoryPower
from holdfast.fencing.power.registry import PowerFenceRegistry
from holdfast.lab.bmc import BmcMode, RedfishBmc, make_certificate

CALL_S = 15.0


@pytest.fixture
def bmc(tmp_path):
    cert, key = make_certificate(tmp_path, "127.0.0.1")
    made = RedfishBmc("127.0.0.1", 0, MemoryPower(), "admin", "geheim", cert, key)
    made.start()
    yield made
    made.stop()


@pytest.fixture
async def fence(bmc, tmp_path):
    """fence(**options): a device; an option of None is left out."""
    opened = []

    def build(**changes):
        options = {
            "url": f"https://127.0.0.1:{bmc.port}",
            "username": "admin",
            "password": "geheim",
            "ca": str(tmp_path / "bmc.crt"),
            **changes,
        }
        spec = FenceDeviceSpec("bmc", "redfish", {name: value for name, value in options.items() if value is not None})
        opened.append(PowerFenceRegistry().open(spec))
        return opened[-1]

    yield build
    for device in opened:
        await device.close()


async def works(device):
    return (await device.read(timeout=CALL_S)).state == "on"


async def test_each_kind_of_trust(fence, tmp_path):
    der = ssl.PEM_cert_to_DER_cert((tmp_path / "bmc.crt").read_text())
    print_ = hashlib.sha256(der).hexdigest()
    assert await works(fence())
    assert await works(fence(ca=None, fingerprint=print_.upper()))
    assert await works(fence(ca=None, fingerprint=":".join(print_[i : i + 2] for i in range(0, 64, 2))))
    assert await works(fence(ca=None, insecure="true"))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"ca": None}, "certificate that is not trusted"),
        ({"ca": None, "fingerprint": "0" * 64}, "another certificate than the pinned one"),
        ({"ca": "/nonexistent"}, "/nonexistent|No such file"),
        ({"password": "falsch"}, "refuses user `admin`: wrong user name or password"),
        ({"password": "falsch", "auth": "session"}, "refuses user `admin`: wrong user name or password"),
        ({"username": "root"}, "refuses user `root`"),
        ({"system": "7"}, "knows no /redfish/v1/Systems/7"),
        ({"url": "https://127.0.0.1:1"}, "unreachable"),
    ],
)
async def test_each_failure_has_its_own_sentence(fence, changes, says):
    with pytest.raises(FenceError, match=says) as caught:
        await fence(**changes).read(timeout=CALL_S)
    assert "geheim" not in str(caught.value) and "falsch" not in str(caught.value)
    assert caught.value.advice


async def test_a_pinned_fingerprint_is_checked_before_the_password_is_sent(fence, bmc):
    with pytest.raises(FenceError, match="pinned"):
        await fence(ca=None, fingerprint="0" * 64).off(timeout=CALL_S)
    assert bmc.resets == []


async def test_a_session_is_logged_in_once_and_out_at_the_end(fence, bmc):
    device = fence(auth="session")
    assert await works(device)
    await device.off(timeout=CALL_S)
    assert bmc.resets == ["ForceOff"]
    assert len(bmc.get("/redfish/v1/SessionService/Sessions").body["Members"]) == 1
    await device.close()
    assert bmc.get("/redfish/v1/SessionService/Sessions").body["Members"] == []


async def test_an_expired_session_is_renewed(fence, bmc):
    device = fence(auth="session")
    assert await works(device)
    for member in bmc.get("/redfish/v1/SessionService/Sessions").body["Members"]:
        bmc.delete(member["@odata.id"])
    assert await works(device)


async def test_a_closed_device_can_be_used_again(fence):
    device = fence()
    assert await works(device)
    await device.close()
    assert await works(device)


async def test_a_refused_reset_says_what_the_bmc_says(fence, bmc):
    bmc.mode = BmcMode.REFUSES
    with pytest.raises(FenceError, match="the power controller does not answer"):
        await fence().off(timeout=CALL_S)


async def test_every_call_ends_in_time_and_what_was_asked_is_forgotten(fence, bmc):
    device = fence()
    assert await works(device)
    bmc.mode = BmcMode.UNREACHABLE
    with pytest.raises(FenceError, match=r"no answer within 0\.3 s"):
        await device.off(timeout=0.3)
    bmc.mode = BmcMode.NORMAL
    assert await works(device)
    assert bmc.resets == []


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"url": None}, "has no `url`"),
        ({"password": None}, "has no `password`"),
        ({"url": "http://127.0.0.1"}, "is not https"),
        ({"url": "https://127.0.0.1/redfish/v1"}, "is not https"),
        ({"url": "https://admin:x@127.0.0.1"}, "is not https"),
        ({"usrname": "admin"}, "unknown option `usrname`"),
        ({"insecure": "perhaps"}, "must be true or false"),
        ({"auth": "digest"}, "Choose one of: basic, session"),
        ({"fingerprint": "abc"}, "not a SHA-256"),
        ({"system": "../x"}, "neither an id nor a path"),
    ],
)
async def test_wrong_options_are_refused(fence, changes, says):
    with pytest.raises(InvalidInput, match=says):
        fence(**changes)


def test_unknown_types_are_refused_and_manual_never_confirms():
    with pytest.raises(InvalidInput, match="no type 'ipmi'"):
        PowerFenceRegistry().open(FenceDeviceSpec("d", "ipmi"))


async def test_manual_never_confirms_anything():
    manual = PowerFenceRegistry().open(FenceDeviceSpec("person", "manual", {"note": "call 112"}))
    reading = await manual.read(timeout=1)
    assert reading.state == "unknown" and "call 112" in reading.detail
    with pytest.raises(FenceError, match="confirm-dead"):
        await manual.off(timeout=1)
