"""The sentence that stands beside every probability."""

DISCLAIMER = "Research software, not a medical device: a score is no diagnosis."
