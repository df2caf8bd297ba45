"""Numbers as a person reads them: in the page, in the model card and in the summary alike."""

from __future__ import annotations

import re
from collections.abc import Callable
from math import exp, floor, log10

from melanoma.evaluation.report.schema_parts import Measured

UNDEFINED = "undefined"
_MOST_DIGITS = 8
_SHARE = re.compile(r"(?<![\w.])(?:0\.\d+|1\.0+)(?![\w.]\d|\d)")


def number(value: float | None, digits: int = 3) -> str:
    """The value to `digits` decimals, without a minus before zero; "undefined" for null."""
    if value is None:
        return UNDEFINED
    text = f"{value:,.{digits}f}"
    return text.lstrip("-") if float(text.replace(",", "")) == 0 else text


def share(value: float | None, digits: int = 3) -> str:
    """A share to `digits` decimals: 0.9998 is ">0.999", since only what is whole reads 1.000."""
    if value is None:
        return UNDEFINED
    step = 10.0**-digits
    if 0 < value < step / 2:
        return f"<{step:.{digits}f}"
    if 1 - step / 2 <= value < 1:
        return f">{1 - step:.{digits}f}"
    return number(value, digits)


def percent(value: float | None, digits: int = 1) -> str:
    """A share in percent, with the same care at both ends as `share`."""
    if value is None:
        return UNDEFINED
    step = 10.0**-digits
    hundred = value * 100
    if 0 < hundred < step / 2:
        return f"<{step:.{digits}f} %"
    if 100 - step / 2 <= hundred < 100:
        return f">{100 - step:.{digits}f} %"
    return f"{number(hundred, digits)} %"


def prevalence(value: float) -> str:
    """A share of melanomas in percent to two decimals, to two digits where it is rarer: only what
    is none reads 0.00%, and what is all 100.00%."""
    if 0 < value < 0.001:
        return f"{100 * value:.2g}%"
    return ">99.99%" if 0.9999 < value < 1 else f"{value:.2%}"


def odds_ratio(log_odds: float | None) -> str:
    """How many times, of a difference of log-odds: .57 is "1.77"."""
    return number(None if log_odds is None else exp(log_odds), 2)


def points(value: float | None) -> str:
    """A difference of shares in percentage points, its sign always said: "+1.2", "-3.0"."""
    if value is None:
        return UNDEFINED
    text = number(value * 100, 1)
    return text if text.startswith("-") or float(text) == 0 else f"+{text}"


def measured(metric: Measured, form: Callable[[float | None], str] = share) -> str:
    """Value and interval, "0.865 (0.843 to 0.886)"; the value alone where there is none."""
    bounds = bounded(metric, form)
    return f"{form(metric.value)} ({bounds})" if bounds else form(metric.value)


def bounded(metric: Measured, form: Callable[[float | None], str] = share) -> str:
    """The interval alone, "0.843 to 0.886"; empty where there is none."""
    if metric.value is None or metric.low is None or metric.high is None:
        return ""
    return f"{form(metric.low).removesuffix(' %')} to {form(metric.high)}"


def compared_value(metric: Measured) -> str:
    """Value and interval to four decimals, for two that lie close together."""
    if metric.value is None:
        return UNDEFINED
    if metric.low is None or metric.high is None:
        return f"{metric.value:z.4f} (no interval)"
    return f"{metric.value:z.4f} (95 % {metric.low:z.4f} to {metric.high:z.4f})"


def of_hundred(value: float | None) -> str:
    """A share as a whole number out of 100: "95", "fewer than 1", "more than 99"."""
    if value is None:
        return UNDEFINED
    if 0 < value < 0.005:
        return "fewer than 1"
    if 0.995 <= value < 1:
        return "more than 99"
    return f"{value * 100:.0f}"


def threshold(value: float) -> str:
    """A threshold in percent: as `percent`, below 1 % to two significant digits, since small ones
    matter where melanoma is rare."""
    return percent(value, threshold_digits(value))


def threshold_digits(value: float) -> int:
    """The decimals of a threshold in percent."""
    hundred = abs(value) * 100
    return max(1, 1 - floor(log10(hundred))) if hundred > 0 else 1


def told_apart(probability: float, mark: float) -> tuple[str, str]:
    """A probability and its threshold in percent, with as many digits as that takes: where melanoma
    is rare, both would be 0.0 %. The threshold has as many as `threshold` gives it."""
    fewest = threshold_digits(mark)
    digits = fewest if probability < 0.01 else 1
    while probability != mark and digits < _MOST_DIGITS:
        if percent(probability, digits) != percent(mark, digits):
            break
        digits += 1
    return percent(probability, digits), percent(mark, max(digits, fewest))


def in_percent(words: str) -> str:
    """Shares within a text, in percent: "sensitivity 0.95" is "sensitivity 95 %"."""
    return _SHARE.sub(lambda match: threshold(float(match[0])).replace(".0 %", " %"), words)


def plural(count: int, one: str, many: str | None = None) -> str:
    """`1 image`, `1,144 images`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def short_source(words: str) -> str:
    """What a set is called, of a sentence on its images: what stands before a comma or bracket."""
    return re.split(r",| \(", words, maxsplit=1)[0]


def listed(names: tuple[str, ...] | list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"
