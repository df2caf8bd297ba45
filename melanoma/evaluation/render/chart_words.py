"""The words of the charts, by language; a number stands as that language writes it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from melanoma.evaluation.number_format import UNDEFINED, in_percent

FRENCH = {
    "ROC curve": "Courbe ROC",
    "Precision-recall curve": "Courbe précision-rappel",
    "Reliability before calibration": "Fiabilité avant calibration",
    "Reliability after calibration": "Fiabilité après calibration",
    "Shortcut baseline": "Raccourcis",
    "AUROC by class": "AUROC par classe",
    "AUROC by subgroup": "AUROC par sous-groupe",
    "Net benefit": "Bénéfice net",
    "1 - specificity": "1 - spécificité",
    "specificity": "spécificité",
    "sensitivity": "sensibilité",
    "sensitivity (recall)": "sensibilité (rappel)",
    "precision (PPV)": "précision (VPP)",
    "predicted probability": "probabilité prédite",
    "observed share of melanomas": "part observée de mélanomes",
    "observed share correct": "part observée de réponses justes",
    "threshold probability": "probabilité seuil",
    "net benefit, images of 100": "bénéfice net, images sur 100",
    "threshold {value}": "seuil {value}",
    "Reliability after calibration, 0 to 10 %": "Fiabilité après calibration, 0 à 10 %",
    "Net benefit, 0 to 10 %": "Bénéfice net, 0 à 10 %",
    "Flow of images": "Parcours des images",
    "From {read} images read to {scored} scored.": "De {read} images lues à {scored} évaluées.",
    "images read": "images lues",
    "not readable": "illisibles",
    "not known": "non connu",
    "excluded": "exclues",
    "never held out": "jamais mises à part",
    "test part": "partie de test",
    "fold not trained": "pli non entraîné",
    "known from training": "connues de l'entraînement",
    "scored": "évaluées",
    "reference standard": "examen de référence",
    "not recorded": "non consigné",
    "flagged": "signalées",
    "not flagged": "non signalées",
    "melanomas": "mélanomes",
    "melanomas, missed": "mélanomes manqués",
    "others": "autres",
    "called right": "bien classées",
    "called wrong": "mal classées",
    "the model": "le modèle",
    "treat everyone": "tous traités",
    "treat no one": "aucun traité",
    "age": "âge",
    "sex": "sexe",
    "site": "site",
    "age, sex and site": "âge, sexe et site",
    "images per patient": "images par patient",
    "file facts": "données du fichier",
    "all of these": "tout cela",
    "images": "images",
    "images a bin: {range}": "images par intervalle : {range}",
    "prevalence {share}": "prévalence {share}",
    "too small ({images})": "trop petit ({images})",
    "the model, from the photograph": "le modèle, d'après la photographie",
    "{at}: threshold {value}, sensitivity {sensitivity}, specificity {specificity}": (
        "{at} : seuil {value}, sensibilité {sensitivity}, spécificité {specificity}"
    ),
    "{at}: threshold {value}, sensitivity {sensitivity}, precision {precision}": (
        "{at} : seuil {value}, sensibilité {sensitivity}, précision {precision}"
    ),
    "{images} images: predicted {predicted}, observed {observed} ({range})": (
        "{images} images : prédit {predicted}, observé {observed} ({range})"
    ),
    "{name}: {auroc}, {images} images": "{name} : {auroc}, {images} images",
    "{name}: {auroc}": "{name} : {auroc}",
    "Sensitivity against 1 - specificity over all thresholds; area under the curve {area}.": (
        "Sensibilité selon 1 - spécificité pour tous les seuils ; aire sous la courbe {area}."
    ),
    "Precision against sensitivity over all thresholds; average precision {area}; "
    "prevalence {share}.": (
        "Précision selon la sensibilité pour tous les seuils ; précision moyenne {area} ; "
        "prévalence {share}."
    ),
    "Observed share against predicted probability in {bins} bins; on the diagonal both agree. "
    "Calibration error {ece}.": (
        "Part observée selon la probabilité prédite, en {bins} intervalles ; sur la diagonale, les "
        "deux s'accordent. Erreur de calibration {ece}."
    ),
    "AUROC with interval: {rows}.": "AUROC avec son intervalle : {rows}.",
    "AUROC of each subgroup with its interval; dashed, all images: {all}.": (
        "AUROC de chaque sous-groupe avec son intervalle ; en tirets, toutes les images : {all}."
    ),
    "AUROC of each class against the rest with its interval.": (
        "AUROC de chaque classe contre les autres, avec son intervalle."
    ),
    "Net benefit against the threshold probability for the model, for treating everyone and for "
    "treating no one; the model's is highest at {best} images of 100.": (
        "Bénéfice net selon la probabilité seuil pour le modèle, pour traiter tout le monde et "
        "pour ne traiter personne ; au plus {best} images sur 100 pour le modèle."
    ),
    "Loss by epoch": "Perte par époque",
    "Learning rate by epoch": "Taux d'apprentissage par époque",
    "epoch": "époque",
    "loss": "perte",
    "learning rate": "taux d'apprentissage",
    "training": "entraînement",
    "held-out images": "images tenues à part",
    "fold {fold}": "pli {fold}",
    "Loss against the epoch in training and on the held-out images, {folds} folds. Training's has "
    "the recipe's weights, smoothing and augmentation; the other has none.": (
        "Perte selon l'époque, à l'entraînement et sur les images tenues à part, {folds} plis. La "
        "première comprend les poids, le lissage et l'augmentation de la recette, l'autre non."
    ),
    "The head's learning rate at the end of each epoch; highest {most}.": (
        "Taux d'apprentissage de la tête à la fin de chaque époque ; au plus {most}."
    ),
    UNDEFINED: "non défini",
}
# What rows are named by: classes of the readers, and groups as evaluation.measure.subgroups makes.
FRENCH_NAMES = {
    "melanoma": "mélanome",
    "benign": "bénin",
    "nevus": "nævus",
    "melanocytic nevus": "nævus mélanocytaire",
    "basal cell carcinoma": "carcinome basocellulaire",
    "squamous cell carcinoma": "carcinome épidermoïde",
    "actinic keratosis": "kératose actinique",
    "actinic keratosis / intraepithelial carcinoma": "kératose actinique / carc. intraépithélial",
    "benign keratosis-like lesion": "lésion de type kératose",
    "dermatofibroma": "dermatofibrome",
    "vascular lesion": "lésion vasculaire",
    "male": "homme",
    "female": "femme",
    "unknown": "inconnu",
    "back": "dos",
    "lower extremity": "membre inférieur",
    "upper extremity": "membre supérieur",
    "trunk": "tronc",
    "torso": "tronc",
    "anterior torso": "tronc, devant",
    "posterior torso": "tronc, dos",
    "lateral torso": "tronc, côté",
    "abdomen": "abdomen",
    "face": "visage",
    "chest": "poitrine",
    "foot": "pied",
    "neck": "cou",
    "scalp": "cuir chevelu",
    "hand": "main",
    "ear": "oreille",
    "genital": "région génitale",
    "acral": "extrémités",
    "head/neck": "tête et cou",
    "palms/soles": "paumes et plantes",
    "oral/genital": "bouche et région génitale",
    "histopathology": "histologie",
    "histology": "histologie",
    "follow-up": "suivi",
    "consensus": "consensus",
    "confocal": "microscopie confocale",
}
_FRENCH_RANGES = (
    (r"under (\d+)", r"moins de \1"),
    (r"(\d+) to (\d+)", r"\1 à \2"),
    (r"(\d+) and over", r"\1 et plus"),
    (r"other \((\d+) values\)", r"autres (\1 valeurs)"),
)
LANGUAGES: dict[str, dict[str, str]] = {"en": {}, "fr": FRENCH}


@dataclass(frozen=True)
class Words:
    """A language of LANGUAGES: "en" or "fr"."""

    language: str = "en"

    def __call__(self, phrase: str, **values: str) -> str:
        """The phrase, {name} replaced by the number or word `values` has for it."""
        known = LANGUAGES[self.language].get(phrase, phrase)
        # A name of the run, such as a column's, may hold braces.
        return known.format_map({k: self.number(v) for k, v in values.items()}) if values else known

    def number(self, text: str) -> str:
        """English digits, such as "0.87 (0.85 to 0.89)", in the language's way of writing."""
        if self.language == "en" or text == UNDEFINED:
            return self(text)
        text = re.sub(r"(?<=\d),(?=\d{3})", "\N{NARROW NO-BREAK SPACE}", text)
        text = re.sub(r"(?<=\d)\.(?=\d)", ",", text)
        return re.sub(r"(?<=[\d%]) to (?=[\d<>])", " à ", text)

    def name(self, row: str) -> str:
        """A class's or a group's name; one that is not known stays as it is."""
        if self.language == "en":
            return row
        for english, french in _FRENCH_RANGES:
            if re.fullmatch(english, row):
                return re.sub(english, french, row)
        return FRENCH_NAMES.get(row, row)

    def at(self, point: str) -> str:
        """What a threshold was chosen for: "sensitivity 95 %" and the like."""
        rule, _, share = point.rpartition(" ")
        return f"{self(rule)} {self.number(in_percent(share))}" if rule else point


ENGLISH = Words()
