import math
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepscope.report._numbers import in_si, number, number_and_error, parameters, seconds, short


@pytest.mark.parametrize(
    ("value", "stderr", "text"),
    [
        (None, None, "–"),
        (math.nan, None, "–"),
        (math.inf, None, "–"),
        (0.0, None, "0"),
        (0, None, "0"),
        (1234567, None, "1,234,567"),
        (-12, None, "−12"),
        (0.5, None, "0.5"),
        (0.9996, None, "1"),
        (3.14159, None, "3.14"),
        (1.23456, None, "1.235"),
        (12345.678, None, "12,346"),
        (0.00012346, None, "0.0001235"),
        (0.000012346, None, "1.235e−5"),
        (-2.5e12, None, "−2.5e12"),
        (2.8371, 0.1234, "2.84"),
        (2.8371, 0.00991, "2.8371"),
        (283.71, 12.34, "284"),
        (28371.2, 1234.0, "28,400"),
        (2.8, 0.0, "2.8"),
        (1.5e-7, 2.3e-9, "1.500e−7"),
    ],
)
def test_number(value, stderr, text):
    assert number(value, stderr) == text


@given(st.floats(-1e12, 1e12).filter(lambda value: abs(value) > 1e-12))
@settings(max_examples=300, deadline=None)
def test_three_or_four_digits_are_right(value):
    read = float(number(value).replace(",", "").replace("−", "-"))
    # Rounding at the third digit errs by at most half a unit of it: 0.5 % of a number that begins with 1 (which has
    # four), so 0.25 % of one that begins with 2.
    assert abs(read - value) <= 0.0025 * abs(value) + 1e-18


@given(st.floats(0.01, 1e4), st.floats(1e-4, 1e2))
@settings(max_examples=300, deadline=None)
def test_with_a_standard_error_the_last_digit_is_its_second(value, stderr):
    text = number(value, stderr).replace(",", "")
    mantissa = Decimal(text.replace("−", "-"))
    # Half a unit of the error's second digit is at most 5 % of the error.
    assert abs(mantissa - Decimal(value)) <= Decimal(0.0501 * stderr)


def test_estimate_with_its_error():
    assert number_and_error(2.8371, 0.1234) == "2.84 ± 0.12"
    assert number_and_error(2.8371, None) == "2.84"
    assert number_and_error(None, 0.1) == "–"


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0 B"), (999, "999 B"), (999.7, "1 kB"), (1500, "1.5 kB"), (2**62, "4.61 EB"), (None, "–")]
)
def test_si(value, text):
    assert in_si(value, "B") == text


def test_parameters_show_every_digit_below_a_million():
    assert parameters(999_999) == "999,999 parameters"
    assert parameters(1_000_000) == "1 M parameters"


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0 ms"), (0.9996, "1.0 s"), (99.96, "1 min 40 s"), (7265, "2 h 1 min")]
)
def test_seconds(value, text):
    assert seconds(value) == text


def test_short_has_two_digits():
    assert [short(value) for value in (0, 0.53219, -0.00017, 123456.0)] == ["0", "0.53", "−1.7e−4", "123,456"]
