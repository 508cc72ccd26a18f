import pytest

from app.batching.capacity import Budget, Capacity
from app.errors import RequestTooLarge


def test_a_budget_is_full_at_its_limit() -> None:
    budget = Budget(10)
    budget.take(7)
    assert budget.fits(3)
    assert not budget.fits(4)
    assert not budget.is_full
    budget.take(5)
    assert budget.is_full
    assert budget.used == 12


def test_a_lease_takes_only_amounts_that_fit_and_gives_all_of_them_back() -> None:
    budget = Budget(10)
    with budget.lease() as lease:
        assert lease.take(6)
        assert not lease.take(5)
        assert lease.take(4)
        assert budget.used == 10
    assert budget.used == 0


def test_a_request_beyond_a_limit_is_too_large_and_not_refused_for_now() -> None:
    capacity = Capacity(max_windows=8, max_decoded_bytes=100, max_body_bytes=1, max_unsent_bytes=1)
    capacity.windows.take(5)
    assert capacity.fits(windows=3, nbytes=100)
    assert not capacity.fits(windows=4, nbytes=1)
    with pytest.raises(RequestTooLarge, match="9 windows and 1 bytes; the service holds at most 8 windows"):
        capacity.fits(windows=9, nbytes=1)
