"""The items of CLAIM and TRIPOD+AI, each with an answer from the figures, the card or the site.

CLAIM: Tejani et al., Radiology: Artificial Intelligence 6 (2024), e240300. TRIPOD+AI: Collins et
al., BMJ 385 (2024), e078378. The topics are in this program's own words. What cannot be known here
says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from export.answers import SUBJECTS, Answer


@dataclass(frozen=True, slots=True)
class Item:
    """One item of a checklist."""

    number: str
    topic: str
    answer: Answer


CLAIM = (
    ("1", "Title names the use of AI and its kind", "title"),
    ("2", "Structured summary", "summary"),
    ("3", "Background, intended use and clinical role", "role"),
    ("4", "Aims and hypotheses", "objectives"),
    ("5", "Prospective or retrospective", "design"),
    ("6", "Goal of the study", "objectives"),
    ("7", "Data sources", "sources"),
    ("8", "Inclusion and exclusion", "eligibility"),
    ("9", "Preprocessing", "preprocessing"),
    ("10", "Selection of data subsets", "subset"),
    ("11", "De-identification", "deidentification"),
    ("12", "Missing data", "missing"),
    ("13", "Image acquisition", "acquisition"),
    ("14", "How the reference standard was obtained", "reference"),
    ("15", "Why that reference standard", "reference"),
    ("16", "Source of the annotations", "annotators"),
    ("17", "Annotation of the test set", "annotators"),
    ("18", "Variability within and between annotators", "annotators"),
    ("19", "How data were divided", "partitions"),
    ("20", "Level at which the parts are disjoint", "disjoint"),
    ("21", "Intended sample size", "sample_size"),
    ("22", "The model in detail", "model"),
    ("23", "Software", "software"),
    ("24", "Initial parameters", "weights"),
    ("25", "Training", "training"),
    ("26", "Choice of the final model", "selection"),
    ("27", "Ensembles", "ensemble"),
    ("28", "Measures of performance", "measures"),
    ("29", "Uncertainty", "uncertainty"),
    ("30", "Robustness", "robustness"),
    ("31", "Explanation", "explanation"),
    ("32", "Evaluation on internal data", "internal"),
    ("33", "Testing on external data", "external"),
    ("34", "Registration", "registration"),
    ("35", "Numbers included and excluded", "flow"),
    ("36", "Characteristics of cases in each part", "characteristics"),
    ("37", "Performance with uncertainty", "performance"),
    ("38", "Diagnostic performance and its precision", "performance"),
    ("39", "Failure analysis", "failures"),
    ("40", "Limitations", "limitations"),
    ("41", "Implications for practice", "implications"),
    ("42", "Protocol and technical detail", "protocol"),
    ("43", "Availability of software, model and data", "availability"),
    ("44", "Funding", "funding"),
)
TRIPOD_AI = (
    ("1", "Title", "title"),
    ("2", "Abstract", "summary"),
    ("3a", "Health care context and rationale", "role"),
    ("3b", "Target population, purpose, users", "population"),
    ("3c", "Known health inequalities", "inequalities"),
    ("4", "Objectives", "objectives"),
    ("5a", "Sources of data, representativeness", "sources"),
    ("5b", "Dates", "dates"),
    ("6a", "Setting", "setting"),
    ("6b", "Eligibility", "eligibility"),
    ("6c", "Treatments received", "treatments"),
    ("7", "Data preparation", "preprocessing"),
    ("8a", "Outcome and how it was determined", "reference"),
    ("8b", "Those who determined it", "annotators"),
    ("8c", "Blinding", "annotators"),
    ("9a", "Choice of predictors", "predictors"),
    ("9b", "Predictors defined, how measured", "predictors"),
    ("9c", "Those who determined the predictors", "subjective"),
    ("10", "Sample size", "sample_size"),
    ("11", "Missing data", "missing"),
    ("12a", "How data were used, partitions", "partitions"),
    ("12b", "How predictors entered the model", "preprocessing"),
    ("12c", "Type of model, building, validation", "training"),
    ("12d", "Heterogeneity between clusters", "clusters"),
    ("12e", "Measures of performance", "measures"),
    ("12f", "Model updating", "updating"),
    ("12g", "How predictions were computed", "computed"),
    ("13", "Class imbalance", "imbalance"),
    ("14", "Fairness", "fairness"),
    ("15", "Model output", "output"),
    ("16", "Differences between development and evaluation", "differences"),
    ("17", "Ethical approval", "ethics"),
    ("18a", "Funding", "funding"),
    ("18b", "Conflicts of interest", "conflicts"),
    ("18c", "Protocol", "protocol"),
    ("18d", "Registration", "registration"),
    ("18e", "Data sharing", "availability"),
    ("18f", "Code sharing", "code"),
    ("19", "Patient and public involvement", "involvement"),
    ("20a", "Flow of participants", "flow"),
    ("20b", "Characteristics", "characteristics"),
    ("20c", "Development and evaluation data compared", "differences"),
    ("21", "Numbers of participants and events", "numbers"),
    ("22", "Full model specification", "specification"),
    ("23a", "Performance with intervals, subgroups", "performance"),
    ("23b", "Heterogeneity of performance", "clusters"),
    ("24", "Results of updating", "updating"),
    ("25", "Interpretation, fairness", "interpretation"),
    ("26", "Limitations", "limitations"),
    ("27a", "Input of poor quality or none", "poor_input"),
    ("27b", "Interaction with users", "interaction"),
    ("27c", "Next steps", "implications"),
)


def items(found: Mapping[str, Any], checklist: tuple[tuple[str, str, str], ...]) -> list[Item]:
    """The items of `CLAIM` or `TRIPOD_AI` with their answers.

    Args:
        found: What `metrics.json` holds.
        checklist: Number, topic and subject of each item.
    """
    answers = {subject: make(found) for subject, make in SUBJECTS.items()}
    return [Item(number, topic, answers[subject]) for number, topic, subject in checklist]
