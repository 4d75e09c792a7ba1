"""Numbers of JSON as Go writes them, and read so that error texts can show how they were written."""

from __future__ import annotations


class JsonFloat(float):
    """A number that was written with a fraction or an exponent; `literal` is how."""

    __slots__ = ("literal",)
    literal: str

    def __new__(cls, literal: str) -> JsonFloat:
        made = super().__new__(cls, literal)
        made.literal = literal
        return made


def format_float(number: float) -> str:
    """A float64 as Go's JSON has it: plain digits from 1e-6 up to 1e21, else an exponent without padding."""
    if number == 0:
        return "-0" if str(number)[0] == "-" else "0"
    sign, number = ("-", -number) if number < 0 else ("", number)
    mantissa, _, exponent_text = f"{number!r}".partition("e")
    whole, _, fraction = mantissa.partition(".")
    if fraction == "0":
        fraction = ""
    exponent = int(exponent_text or "0")
    if not 1e-6 <= number < 1e21:
        if not exponent_text:  # Python switches to exponents later than Go does
            digits = (whole + fraction).lstrip("0")
            leading_zeros = len(fraction) - len(fraction.lstrip("0")) if whole == "0" else 0
            exponent = -leading_zeros - 1 if whole == "0" else len(whole) - 1
            digits = digits.rstrip("0") or "0"
            whole, fraction = digits[0], digits[1:]
        return f"{sign}{whole}{'.' + fraction if fraction else ''}e{exponent:+d}"
    digits, point = whole + fraction, len(whole) + exponent
    if point <= 0:
        return f"{sign}0.{'0' * -point}{digits.rstrip('0')}"
    if point >= len(digits):
        return sign + (digits + "0" * (point - len(digits))).lstrip("0")
    return f"{sign}{digits[:point].lstrip('0') or '0'}.{digits[point:].rstrip('0')}".rstrip(".")
