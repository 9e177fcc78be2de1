import pytest

from holdfast.core.timing import PROFILES, Timing, profile
from holdfast.errors import ConfigError


def test_built_in_profiles_have_the_numbers_of_the_design() -> None:
    default, fast = profile("default"), profile("fast")
    assert (default.B, default.T_wait) == (29, 30)
    assert (fast.B, fast.T_wait) == (20, 21)


@pytest.mark.parametrize("name", PROFILES)
def test_wait_is_never_shorter_than_the_bound_of_the_two_clocks(name: str) -> None:
    timing = profile(name)
    assert timing.T_wait >= (1 + timing.rho) / (1 - timing.rho) * timing.B


@pytest.mark.parametrize(
    ("change", "broken"),
    [
        ({"F": 5.0}, "liveness"),
        ({"E": 9.0}, "liveness"),
        ({"p": 6.0}, "petting"),
        ({"k": 20.0}, "clean stop"),
        ({"rho": 0.5}, "rho"),
        ({"H": 0.0}, "0 < H"),
    ],
)
def test_a_profile_that_breaks_an_inequality_cannot_exist(change: dict[str, float], broken: str) -> None:
    values = {name: getattr(profile("default"), name) for name in Timing.__slots__}
    with pytest.raises(ConfigError, match=broken):
        Timing(**{**values, **change})


def test_an_unknown_profile_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="default, fast"):
        profile("quick")
