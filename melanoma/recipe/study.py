"""The study section of a recipe: what no file of images or table can say of where they are from."""

from __future__ import annotations

from melanoma.recipe.sections import Part


class Study(Part):
    """What TRIPOD+AI and STARD ask of a study. It decides no number; blank is "not recorded"."""

    source: str = ""
    """What the images are, in a few words, with the publication."""
    context: str = ""
    """What the model is for, who would use it, and where."""
    setting: str = ""
    """Clinics and cameras that the images come from."""
    dates: str = ""
    """When the images were taken."""
    eligibility: str = ""
    """Which patients and lesions were taken in, and which left out."""
    reference_standard: str = ""
    """How the true diagnosis was established."""
    ethics: str = ""
    """Approval by an ethics committee, and consent."""
    funding: str = ""
    """Who paid for it, and which interests conflict."""

    def stated(self) -> dict[str, str]:
        """What is not blank, by its field's name."""
        return {name: text for name, text in self.model_dump().items() if text}
