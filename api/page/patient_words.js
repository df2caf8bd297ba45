// The words of the patient's wall, in both languages.
import { currentLanguage } from "./words.js";

const WORDS = {
  en: {
    ask: "Rank as one patient's lesions",
    offer: "If all these photographs are of one patient: the lesions side by side, the highest first. Experimental.",
    title: "One patient's lesions",
    few: "Fewer than three distinct lesions: there is nothing to compare. Each lesion's own result stands.",
    marked: "{n} lesions, the highest first; {marked} stands out among the others.",
    none: "{n} lesions, the highest first; none stands out among the others. That is no all-clear.",
    experimental: "Experimental: ranks and marks are not shown to find more melanomas. Each lesion's own probability and verdict stand as they are; show a lesion that worries you to a doctor.",
    without: "This model has no probability with context: none was shown to help on patients with known diagnoses.",
    rank: "Rank {rank} of {n}",
    own: "Melanoma {share}",
    context: "With the other lesions in view: {share}",
    lifted: "With the other lesions in view it reaches the threshold: have a doctor look at it.",
    outlier: "Stands out: its odds of melanoma are {odds} times the middle of the others. Have a doctor look at it.",
    several: "Mean of {n} photographs, from {low} to {high}",
    flagged: "Flagged",
    other: "Not flagged for melanoma, perhaps another cancer",
    unsure: "Unsure",
    unscorable: "Cannot be scored",
    below: "Not flagged",
  },
  fr: {
    ask: "Classer comme les lésions d'un seul patient",
    offer: "Si toutes ces photographies sont d'un seul patient\u00a0: les lésions côte à côte, la plus suspecte d'abord. Expérimental.",
    title: "Les lésions d'un patient",
    few: "Moins de trois lésions distinctes\u00a0: il n'y a rien à comparer. Le résultat propre à chaque lésion reste.",
    marked: "{n} lésions, la plus suspecte d'abord\u00a0; {marked} se distingue des autres.",
    none: "{n} lésions, la plus suspecte d'abord\u00a0; aucune ne se distingue des autres. Cela n'écarte rien.",
    experimental: "Expérimental\u00a0: il n'est pas démontré que rangs et marques trouvent plus de mélanomes. La probabilité et le verdict propres à chaque lésion restent tels quels\u00a0; une lésion qui vous inquiète doit être vue par un médecin.",
    without: "Ce modèle n'a pas de probabilité avec contexte\u00a0: aucune n'a montré d'utilité chez des patients au diagnostic connu.",
    rank: "Rang {rank} sur {n}",
    own: "Mélanome {share}",
    context: "En tenant compte des autres lésions\u00a0: {share}",
    lifted: "En tenant compte des autres lésions, elle atteint le seuil\u00a0: faites-la voir par un médecin.",
    outlier: "Se distingue\u00a0: sa cote de mélanome est {odds} fois celle du milieu des autres. Faites-la voir par un médecin.",
    several: "Moyenne de {n} photographies, de {low} à {high}",
    flagged: "Signalée",
    other: "Non signalée pour un mélanome, peut-être un autre cancer",
    unsure: "Incertain",
    unscorable: "Ne peut être évaluée",
    below: "Non signalée",
  },
};

// The words for a key, {name} replaced by values.name.
export const told = (key, values = {}) =>
  (WORDS[currentLanguage()] ?? WORDS.en)[key].replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
