"""Which shares of melanomas a place can be said to have."""

from __future__ import annotations

from melanoma.errors import RecipeError

# Beyond them nothing is a place, and probabilities and thresholds come to round to 0 or 1.
LEAST_PREVALENCE = 0.000001
GREATEST_PREVALENCE = 0.999999
A_PREVALENCE = "from 0.000001 to 0.999999, such as 0.02"


def require_asked(prevalence: float, *, name: str = "--prevalence") -> None:
    """Raise RecipeError, which begins with `name`, for a share that no place has."""
    if not LEAST_PREVALENCE <= prevalence <= GREATEST_PREVALENCE:
        raise RecipeError(f"{name} {prevalence}: a share {A_PREVALENCE}")
