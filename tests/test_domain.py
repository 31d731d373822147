"""Each run has a ROS domain of its own."""

import socket

import pytest

from robot_stack.domain import FIRST, LAST, lease_domain
from robot_stack.errors import ConfigError


def test_two_leases_at_once_are_on_different_domains() -> None:
    one, other = lease_domain(), lease_domain()
    try:
        assert one.domain != other.domain and FIRST <= one.domain <= LAST
        with pytest.raises(ConfigError, match="in use"):
            lease_domain(one.domain)
    finally:
        one.release()
        other.release()


def test_a_released_domain_can_be_leased_again() -> None:
    lease = lease_domain()
    lease.release()
    again = lease_domain(lease.domain)
    assert again.domain == lease.domain
    again.release()


def test_a_domain_another_program_listens_on_is_not_taken() -> None:
    lease = lease_domain()
    lease.release()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind(("127.0.0.1", 7400 + 250 * lease.domain + 10))
        with pytest.raises(ConfigError, match="in use"):
            lease_domain(lease.domain)


@pytest.mark.parametrize("wanted", [0, 101])
def test_a_domain_out_of_range_is_refused(wanted: int) -> None:
    with pytest.raises(ConfigError, match=r"1\.\.100"):
        lease_domain(wanted)
