"""The sentences that stand beside every probability."""

DISCLAIMER = "Research software, not a medical device: a score is no diagnosis."
# What a bundle of a recipe with this image_type is for; of "any" nothing is said.
PICTURES_ONLY = {
    "dermatoscope": "Dermatoscope pictures only: of photographs by a phone or camera nothing is "
    "claimed.",
    "clinical": "Photographs by a phone or camera only: of dermatoscope pictures nothing is "
    "claimed.",
}
