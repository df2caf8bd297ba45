"""METRICS: every metric of a report by its name, each one entry that all who show it read.

report.json, report.html, MODEL_CARD.md, the terminal, `compare --metric`, training's lines, GET
/info and the page take name, form and order from here. The order is that of report.json.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from melanoma.evaluation.metrics.bootstrap import Statistic
from melanoma.evaluation.metrics.decisions import (
    accuracy,
    balanced_accuracy,
    macro_f1,
    top_k_accuracy,
)
from melanoma.evaluation.metrics.probability_scores import (
    brier_score,
    class_brier_score,
    class_log_loss,
    expected_calibration_error,
    log_loss,
)
from melanoma.evaluation.metrics.ranking import (
    auroc,
    average_precision,
    macro_auroc,
    partial_auroc,
    sensitivity_at_specificity,
)
from melanoma.evaluation.metrics.spec import Card, MetricSpec, Need
from melanoma.evaluation.metrics.within_patient import (
    caught_in_top,
    concordance,
    melanoma_rank,
    within_patients,
)
from melanoma.evaluation.number_format import percent, share
from melanoma.types import Floats, Integers


def _melanoma(metric: Callable[[Integers, Floats], Statistic]) -> Callable[..., Statistic]:
    """Of melanoma against the rest, by the probability that the bundle gives."""
    return lambda images: metric(images.positive, images.probability)


def _outcome(metric: Callable[[Integers, Floats], Statistic]) -> Callable[..., Statistic]:
    """Of what calibration is judged by, by cross-fitted probabilities."""
    return lambda images: metric(*images.confidence)


def _top(k: int, needs: Need) -> MetricSpec:
    return MetricSpec(
        title=f"Top {k} accuracy",
        title_fr=f"Exactitude des {k} premières classes",
        short=f"top {k} accuracy",
        explanation=f"Share of images whose class is among the {k} likeliest.",
        make=lambda images: top_k_accuracy(k, images.target, images.by_class),
        needs=needs,
        unit="share",
        wins="is right more often",
        terminal=False,
    )


def _looked_at(count: int, title: str, title_fr: str) -> MetricSpec:
    return MetricSpec(
        title=f"Sensitivity of a patient's {title}",
        title_fr=f"Sensibilité en ne regardant que {title_fr} de chaque patient",
        short=f"sensitivity of a patient's {title}",
        explanation="Share of melanomas found where no other lesion of a patient is looked at; "
        f"patients with more than {count}.",
        make=within_patients(partial(caught_in_top, count)),
        needs="patients",
        unit="share",
        wins="finds more within patients",
        terminal=False,
    )


METRICS: dict[str, MetricSpec] = {
    "auroc": MetricSpec(
        title="AUROC",
        title_fr="AUROC",
        short="AUROC",
        explanation="Chance that a melanoma is ranked above another image; a half is guessing.",
        make=_melanoma(auroc),
        needs="melanoma",
        wins="ranks better",
        card=Card(1, lambda content: "0.5 is guessing, 1 is perfect"),
    ),
    "partial_auroc_above_sensitivity_0.8": MetricSpec(
        title="Partial AUROC above sensitivity 0.8 (at most 0.2)",
        title_fr="AUROC partielle au-dessus d'une sensibilité de 0,8 (au plus 0,2)",
        short="partial AUROC above sensitivity 0.8",
        explanation="Area under the ROC curve where the sensitivity is at least 0.8, at most 0.2.",
        make=_melanoma(partial(partial_auroc, 0.8)),
        needs="melanoma",
        wins="ranks better",
        terminal=False,
    ),
    "pr_auc": MetricSpec(
        title="PR-AUC",
        title_fr="Précision moyenne",
        short="PR-AUC",
        explanation="Average precision over all thresholds; guessing reaches the prevalence.",
        make=_melanoma(average_precision),
        needs="melanoma",
        wins="ranks better",
        card=Card(
            2,
            lambda content: (
                ""
                if content.data.prevalence is None
                else f"guessing: {share(content.data.prevalence)}"
            ),
        ),
    ),
    "sensitivity_at_specificity_0.9": MetricSpec(
        title="Sensitivity at specificity 0.9",
        title_fr="Sensibilité à une spécificité de 0,9",
        short="sensitivity at specificity 0.9",
        explanation="Share of melanomas caught where nine of ten other images are not flagged.",
        make=_melanoma(partial(sensitivity_at_specificity, 0.9)),
        needs="melanoma",
        unit="share",
        wins="catches more",
        terminal=False,
    ),
    "macro_auroc": MetricSpec(
        title="Macro AUROC",
        title_fr="AUROC moyenne des classes",
        short="macro AUROC",
        explanation="Mean AUROC of each class against the rest.",
        make=lambda images: macro_auroc(images.target, images.by_class),
        needs="several outputs",
        wins="tells the classes apart better",
        card=Card(4, lambda content: "mean over classes; 0.5 is guessing", "without melanoma"),
    ),
    "accuracy": MetricSpec(
        title="Accuracy",
        title_fr="Exactitude",
        short="accuracy",
        explanation="Share of images whose likeliest class is the right one.",
        make=lambda images: accuracy(images.target, images.likeliest),
        needs="several outputs",
        unit="share",
        wins="is right more often",
        card=Card(5, report="without melanoma", page=False),
        terminal=False,
    ),
    "balanced_accuracy": MetricSpec(
        title="Balanced accuracy",
        title_fr="Exactitude équilibrée",
        short="balanced accuracy",
        explanation="Mean share of each class's images that were called so.",
        make=lambda images: balanced_accuracy(
            images.target, images.likeliest, classes=len(images.classes)
        ),
        needs="several outputs",
        unit="share",
        wins="is right more often in each class",
        card=Card(
            3,
            lambda content: f"guessing: {percent(1 / max(len(content.classes), 1))}",
            "more than two classes",
        ),
    ),
    "balanced_accuracy_equal_priors": MetricSpec(
        title="Balanced accuracy, called as if classes were equally common",
        title_fr="Exactitude équilibrée, classes supposées également fréquentes",
        short="balanced accuracy equal priors",
        explanation="The same where each class is called as if all were equally common.",
        make=lambda images: balanced_accuracy(
            images.target, images.likeliest_if_even, classes=len(images.classes)
        ),
        needs="several outputs",
        unit="share",
        wins="is right more often in each class",
    ),
    "macro_f1": MetricSpec(
        title="Macro F1",
        title_fr="F1 macro",
        short="macro F1",
        explanation="Mean over the classes of the harmonic mean of precision and recall.",
        make=lambda images: macro_f1(images.target, images.likeliest, classes=len(images.classes)),
        needs="several outputs",
        wins="calls the classes better",
        card=Card(6, report="without melanoma"),
    ),
    "class_log_loss": MetricSpec(
        title="Log loss over all classes",
        title_fr="Entropie croisée sur toutes les classes",
        short="log loss over all classes",
        explanation="Mean negative logarithm of the true class's probability, in nats.",
        make=lambda images: class_log_loss(images.target, images.crossfit),
        needs="several outputs",
        better="lower",
        wins="predicts better",
        terminal=False,
    ),
    "class_brier": MetricSpec(
        title="Brier score over all classes",
        title_fr="Score de Brier sur toutes les classes",
        short="Brier score over all classes",
        explanation="Squared distance of probabilities and outcome, summed over the classes.",
        make=lambda images: class_brier_score(images.target, images.crossfit),
        needs="several outputs",
        better="lower",
        wins="predicts better",
        terminal=False,
    ),
    "top_3_accuracy": _top(3, "over 3 classes"),
    "top_5_accuracy": _top(5, "over 5 classes"),
    "brier": MetricSpec(
        title="Brier score",
        title_fr="Score de Brier",
        short="Brier score",
        explanation="Mean squared distance of probability and outcome; 0 is perfect.",
        make=_outcome(brier_score),
        better="lower",
        wins="predicts better",
        card=Card(7, report="never"),
    ),
    "log_loss": MetricSpec(
        title="Log loss",
        title_fr="Entropie croisée",
        short="log loss",
        explanation="Mean negative logarithm of the outcome's probability, in nats.",
        make=_outcome(log_loss),
        better="lower",
        wins="predicts better",
        terminal=False,
    ),
    "ece": MetricSpec(
        title="Calibration error (ECE)",
        title_fr="Erreur de calibration",
        short="ECE",
        explanation="Mean distance of predicted probability and observed share over ten bins.",
        make=_outcome(expected_calibration_error),
        unit="share",
        better="lower",
        wins="is calibrated better",
        card=Card(8, lambda content: "0 is perfect"),
    ),
    "within_patient_concordance": MetricSpec(
        title="Concordance within patients",
        title_fr="Concordance au sein d'un patient",
        short="concordance within patients",
        explanation="Chance that a melanoma is ranked above another lesion of the same patient.",
        make=within_patients(concordance),
        needs="patients",
        wins="ranks better within patients",
    ),
    "melanoma_in_top_1": _looked_at(1, "highest lesion", "la lésion la plus suspecte"),
    "melanoma_in_top_3": _looked_at(
        3, "three highest lesions", "les trois lésions les plus suspectes"
    ),
    "melanoma_rank": MetricSpec(
        title="Rank of a melanoma in its patient",
        title_fr="Rang d'un mélanome chez son patient",
        short="rank of a melanoma in its patient",
        explanation="Mean place among its patient's lesions, 1 the highest.",
        make=within_patients(melanoma_rank),
        needs="patients",
        better="lower",
        wins="ranks melanomas higher within patients",
        terminal=False,
    ),
}
# What asks for the order of the images alone.
RANKING = (
    "auroc",
    "partial_auroc_above_sensitivity_0.8",
    "pr_auc",
    "sensitivity_at_specificity_0.9",
)
# The three that are measured before scaling too.
CALIBRATION = ("brier", "log_loss", "ece")
_WORDS = {"auroc": "AUROC", "f1": "F1", "ppv": "PPV", "npv": "NPV", "brier": "Brier score"}
_CHECKS = {
    "auroc_delong": "AUROC, DeLong interval",
    "auroc_delong_clustered": "AUROC, DeLong interval by group",
}


def metric_title(key: str) -> str:
    """A metric's title; of any other key its words: "recipe_digest" -> "Recipe digest"."""
    if key in METRICS:
        return METRICS[key].title
    words = " ".join(_WORDS.get(word, word) for word in key.split("_") if word)
    return _CHECKS.get(key, words[:1].upper() + words[1:])


def metric_form(key: str) -> Callable[[float | None], str]:
    """How a value of the metric is written: a share of images in percent, else as a decimal."""
    return METRICS[key].form if key in METRICS else share
