"""The items of CLAIM and TRIPOD+AI, each with an answer from the figures, the card or the site.

CLAIM: Tejani et al., Radiology: Artificial Intelligence 6 (2024), e240300. TRIPOD+AI: Collins et
al., BMJ 385 (2024), e078378. Numbers and order are those of the published checklists (TRIPOD+AI in
its version of 11 January 2024), the topics in this program's own words. What cannot be known here
says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from export.answer import Answer
from export.answers import SUBJECTS


@dataclass(frozen=True, slots=True)
class Item:
    """One item of a checklist."""

    number: str
    topic: str
    answer: Answer


CLAIM = (
    ("1", "A study of AI, and the kind of technology", "title"),
    ("2", "Summary of design, methods, results, conclusions", "summary"),
    ("3", "Background, intended use and role", "role"),
    ("4", "Aims, objectives, hypotheses", "objectives"),
    ("5", "Prospective or retrospective", "design"),
    ("6", "Goal of the study", "objectives"),
    ("7", "Data sources", "sources"),
    ("8", "Inclusion and exclusion", "eligibility"),
    ("9", "Preprocessing", "preprocessing"),
    ("10", "Selection of data subsets", "subset"),
    ("11", "De-identification", "deidentification"),
    ("12", "Missing data", "missing"),
    ("13", "Image acquisition", "acquisition"),
    ("14", "Methods that gave the reference standard", "reference"),
    ("15", "Reasons for that reference standard", "reference"),
    ("16", "Source of the reference standard's annotations", "annotators"),
    ("17", "Annotation of the test set", "annotators"),
    ("18", "Variability between and within annotators", "annotators"),
    ("19", "How data were assigned to parts", "partitions"),
    ("20", "Level at which the parts are disjoint", "disjoint"),
    ("21", "Intended sample size", "sample_size"),
    ("22", "The model in detail", "model"),
    ("23", "Software", "software"),
    ("24", "Initial parameters", "weights"),
    ("25", "Training", "training"),
    ("26", "Choice of the final model", "selection"),
    ("27", "Ensembles", "ensemble"),
    ("28", "Measures of performance", "measures"),
    ("29", "Statistical significance and uncertainty", "uncertainty"),
    ("30", "Robustness or sensitivity analysis", "robustness"),
    ("31", "Explainability", "explanation"),
    ("32", "Evaluation on internal data", "internal"),
    ("33", "Testing on external data", "external"),
    ("34", "Registration of a clinical trial", "registration"),
    ("35", "Patients or examinations included and excluded", "flow"),
    ("36", "Demographic and clinical characteristics, each part", "characteristics"),
    ("37", "Metrics of performance with uncertainty", "performance"),
    ("38", "Diagnostic performance and its precision", "performance"),
    ("39", "Analysis of incorrect results", "failures"),
    ("40", "Limitations", "limitations"),
    ("41", "Implications for practice, intended use", "implications"),
    ("42", "Reference to protocol or technical detail", "protocol"),
    ("43", "Availability of software, model and data", "availability"),
    ("44", "Funding, other support, role of funders", "funding"),
)
TRIPOD_AI = (
    ("1", "Title: model, target population, outcome", "title"),
    ("2", "Abstract", "summary"),
    ("3a", "Health care context and rationale", "role"),
    ("3b", "Target population, purpose in care, users", "population"),
    ("3c", "Known inequalities between groups", "inequalities"),
    ("4", "Objectives", "objectives"),
    ("5a", "Sources of data, reasons, representativeness", "sources"),
    ("5b", "Dates of the data", "dates"),
    ("6a", "Setting, number and place of centres", "setting"),
    ("6b", "Eligibility of participants", "eligibility"),
    ("6c", "Treatments received", "treatments"),
    ("7", "Preparation and quality checks of the data", "preprocessing"),
    ("8a", "Outcome, how and when assessed", "reference"),
    ("8b", "Those who assessed it", "annotators"),
    ("8c", "Blinding of that assessment", "annotators"),
    ("9a", "Choice of predictors", "predictors"),
    ("9b", "Predictors defined, how measured", "predictors"),
    ("9c", "Those who assessed the predictors", "subjective"),
    ("10", "Size of the study and its reasons", "sample_size"),
    ("11", "Missing data", "missing"),
    ("12a", "How data were used and divided", "partitions"),
    ("12b", "How predictors were handled", "preprocessing"),
    ("12c", "Type of model, its building, internal validation", "training"),
    ("12d", "Heterogeneity between clusters", "clusters"),
    ("12e", "Measures and plots of performance", "measures"),
    ("12f", "Model updating", "updating"),
    ("12g", "How predictions were calculated", "computed"),
    ("13", "Class imbalance and recalibration", "imbalance"),
    ("14", "Approaches to fairness", "fairness"),
    ("15", "Output, classification, origin of thresholds", "output"),
    ("16", "Differences between development and evaluation", "differences"),
    ("17", "Ethical approval, consent or waiver", "ethics"),
    ("18a", "Funding and role of funders", "funding"),
    ("18b", "Conflicts of interest", "conflicts"),
    ("18c", "Protocol", "protocol"),
    ("18d", "Registration", "registration"),
    ("18e", "Data sharing", "availability"),
    ("18f", "Code sharing", "code"),
    ("19", "Patient and public involvement", "involvement"),
    ("20a", "Flow of participants, with and without outcome", "flow"),
    ("20b", "Characteristics, also by source and group", "characteristics"),
    ("20c", "Comparison with the development data", "differences"),
    ("21", "Participants and events in each analysis", "numbers"),
    ("22", "Full model, restrictions to its use", "specification"),
    ("23a", "Performance with intervals, also of subgroups", "performance"),
    ("23b", "Heterogeneity of performance", "clusters"),
    ("24", "Results of updating", "updating"),
    ("25", "Interpretation, fairness, earlier studies", "interpretation"),
    ("26", "Limitations", "limitations"),
    ("27a", "Input of poor quality or none", "poor_input"),
    ("27b", "Interaction and expertise of users", "interaction"),
    ("27c", "Next steps, applicability elsewhere", "implications"),
)


def items(found: Mapping[str, Any], checklist: tuple[tuple[str, str, str], ...]) -> list[Item]:
    """The items of `CLAIM` or `TRIPOD_AI` with their answers.

    Args:
        found: What `metrics.json` holds.
        checklist: Number, topic and subject of each item.
    """
    answers = {subject: make(found) for subject, make in SUBJECTS.items()}
    return [Item(number, topic, answers[subject]) for number, topic, subject in checklist]
