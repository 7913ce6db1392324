"""Numbers as a reader wants them: their meaningful digits, and no more."""

from __future__ import annotations

import math

#: Stands where there is no number.
NONE = "–"

_PREFIXES = ("", "k", "M", "G", "T", "P", "E")


def number(value: float | None, stderr: float | None = None) -> str:
    """Write a number: to the second digit of its standard error, else with three or four significant digits.

    Four where the first digit is 1, three elsewhere, so that the relative precision is about the same.

    >>> number(2.8371, 0.1234), number(0.12346), number(0.2346), number(1234567), number(None)
    ('2.84', '0.1235', '0.235', '1,234,567', '–')
    """
    if value is None or not math.isfinite(value):
        return NONE
    if isinstance(value, int):
        return _minus(f"{value:,}")
    if value == 0:
        return "0"
    if stderr is not None and math.isfinite(stderr) and stderr > 0:
        return _to_place(value, _exponent(stderr) - 1)
    digits = 4 if f"{abs(value):e}"[0] == "1" else 3
    # Rounding may carry: 0.9996 has three digits as 1.00, which is four as a number that begins with 1.
    return _significant(value, digits)


def short(value: float, digits: int = 2) -> str:
    """Write a number for an axis, where the eye reads two digits.

    >>> short(0.53219), short(1254.0), short(0.00001234)
    ('0.53', '1,254', '1.2e−5')
    """
    return "0" if value == 0 else _significant(float(value), digits, lowest=-3)


def number_and_error(value: float | None, stderr: float | None) -> str:
    """Write an estimate with its standard error.

    >>> number_and_error(2.8371, 0.1234)
    '2.84 ± 0.12'
    """
    if value is None or stderr is None or not math.isfinite(stderr) or stderr <= 0:
        return number(value)
    return f"{number(value, stderr)} ± {number(stderr, stderr)}"


def in_si(value: float | None, unit: str = "") -> str:
    """Write a quantity with a prefix of thousands.

    >>> in_si(22_713_216), in_si(246824, "B"), in_si(980, "B")
    ('22.7 M', '247 kB', '980 B')
    """
    if value is None or not math.isfinite(value):
        return NONE
    power = 0
    scaled = float(value)
    while abs(scaled) >= 999.5 and power < len(_PREFIXES) - 1:
        scaled /= 1000
        power += 1
    text = _minus(f"{scaled:.0f}") if power == 0 or abs(scaled) >= 99.95 else _significant(scaled, 3)
    return f"{text} {_PREFIXES[power]}{unit}".rstrip()


def parameters(value: int | None) -> str:
    """Write a number of parameters: every digit below a million.

    >>> parameters(61706), parameters(22713216), parameters(1)
    ('61,706 parameters', '22.7 M parameters', '1 parameter')
    """
    if value is None:
        return f"{NONE} parameters"
    text = f"{value:,}" if value < 1_000_000 else in_si(value)
    return f"{text} parameter{'' if value == 1 else 's'}"


def seconds(value: float | None) -> str:
    """Write a duration.

    >>> seconds(0.0123), seconds(12.34), seconds(754)
    ('12 ms', '12.3 s', '12 min 34 s')
    """
    if value is None or not math.isfinite(value):
        return NONE
    if value < 0.9995:
        return f"{value * 1000:.0f} ms"
    if value < 99.95:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def how_many(count: int, noun: str) -> str:
    """Write a count with its noun.

    >>> how_many(1, "problem"), how_many(2000, "layer")
    ('1 problem', '2,000 layers')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _exponent(value: float) -> int:
    return int(f"{abs(value):.1e}".split("e")[1])


def _to_place(value: float, place: int) -> str:
    if place >= 0:
        return _minus(f"{round(value, -place):,.0f}") if abs(value) < 1e7 else _scientific(value, place)
    if abs(value) < 1e-3 or -place > 8:
        return _scientific(value, place)
    return _minus(f"{value:,.{-place}f}")


def _scientific(value: float, place: int) -> str:
    return _tidy(f"{value:.{max(_exponent(value) - place, 0)}e}") if value else "0"


def _significant(value: float, digits: int, lowest: int = -4) -> str:
    exponent = int(f"{value:.{digits - 1}e}".split("e")[1])
    if lowest <= exponent < 6:
        text = f"{value:,.{max(digits - 1 - exponent, 0)}f}"
        return _minus(text.rstrip("0").rstrip(".") if "." in text else text)
    mantissa, power = f"{value:.{digits - 1}e}".split("e")
    short = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    return _tidy(f"{short}e{power}")


def _tidy(scientific: str) -> str:
    mantissa, power = scientific.split("e")
    return _minus(f"{mantissa}e{int(power)}")


def _minus(text: str) -> str:
    return text.replace("-", "−")
