"""What can be said to each subject that a reporting guideline asks about, from `metrics.json`.

An answer comes from the figures, from the model card, or from the site's own statements; where none
of them knows, it says so.
"""

from __future__ import annotations

from collections.abc import Callable

from export import answers_data as data
from export import answers_model as model
from export import answers_results as results
from export.answer import Answer, Found, here, stated

SUBJECTS: dict[str, Callable[[Found], Answer]] = {
    "title": model.title,
    "summary": lambda _: here("At the head of this report."),
    "role": model.role,
    "population": data.population,
    "inequalities": lambda found: stated(found, "health_inequalities"),
    "objectives": lambda found: here(
        f"To measure how well a finished model finds {found['finding']}: discrimination, "
        "calibration and net benefit end to end, what it does to waiting times, and how much of it "
        "comes from outside the lungs."
    ),
    "design": lambda found: stated(
        found,
        "study_design",
        "Retrospective: the films had their labels before the model was run on them.",
    ),
    "sources": data.sources,
    "dates": lambda found: stated(found, "dates"),
    "setting": lambda found: stated(found, "setting"),
    "eligibility": data.eligibility,
    "treatments": lambda found: stated(found, "treatments"),
    "preprocessing": data.preprocessing,
    "subset": lambda found: here(f"Measured: {found['data']['reason']}."),
    "deidentification": lambda found: stated(found, "deidentification"),
    "missing": data.missing,
    "acquisition": lambda found: stated(found, "acquisition"),
    "reference": lambda found: stated(found, "reference_standard"),
    "annotators": lambda found: stated(found, "annotators"),
    "partitions": data.partitions,
    "disjoint": lambda _: here(
        "Groups as the list states them (patients, near-duplicates), files of equal bytes joined. "
        "Where the list states none, each file is its own group."
    ),
    "sample_size": data.sample_size,
    "model": model.model,
    "software": model.software,
    "weights": model.weights,
    "training": model.training,
    "selection": lambda _: here(
        "By screener train: the weights with the highest AUC on the validation part, which is no "
        "part of this measurement unless section 2.1 says so."
    ),
    "ensemble": lambda _: Answer("not applicable", "One network."),
    "measures": lambda _: here("Section 2.4."),
    "uncertainty": lambda _: here(
        "95 % intervals: Wilson for shares, DeLong for AUC, and a bootstrap of whole groups."
    ),
    "robustness": lambda _: here(
        "Parts of the film blanked, and sources held out where they are named: section 3.6."
    ),
    "explanation": lambda _: here(
        "Class activation maps, which add up to the logit exactly: sections 3.6 and 3.7. A hint, "
        "no localisation."
    ),
    "internal": data.internal,
    "external": data.external,
    "registration": lambda found: stated(found, "registration"),
    "flow": results.flow,
    "characteristics": results.characteristics,
    "performance": results.performance,
    "failures": lambda _: here(
        "The worst errors are shown in section 3.7, all are in predictions.csv."
    ),
    "limitations": lambda _: here("Section 4.2."),
    "implications": lambda found: stated(
        found,
        "implications",
        "No use without a measurement and a threshold of the site's own; the site has not said "
        "more (implications).",
    ),
    "protocol": lambda found: stated(found, "protocol"),
    "availability": lambda found: stated(found, "availability"),
    "funding": lambda found: stated(found, "funding"),
    "predictors": lambda _: here("The pixels of one film alone; no clinical data enter the score."),
    "subjective": lambda _: Answer("not applicable", "No one interprets the pixels beforehand."),
    "clusters": results.clusters,
    "updating": model.updating,
    "computed": lambda _: here("By the file itself, with the code that scan runs every night."),
    "imbalance": model.imbalance,
    "fairness": results.fairness,
    "output": model.output,
    "differences": data.differences,
    "ethics": lambda found: stated(found, "ethics"),
    "conflicts": lambda found: stated(found, "conflicts"),
    "code": lambda _: here("screener is free software under the Apache License 2.0."),
    "involvement": lambda found: stated(found, "patient_involvement"),
    "numbers": results.numbers,
    "specification": lambda found: here(
        f"The file of SHA-256 {found['model']['sha256'][:16]}... is the whole model: graph, "
        "weights, calibration and card. screener scan runs it; so does any ONNX runtime."
    ),
    "interpretation": lambda _: here("Section 4.1."),
    "poor_input": lambda _: here(
        "What cannot be read, or does not look like a frontal chest radiograph, gets no score and "
        "is listed with the reason. A study of which nothing could be scored is never called not "
        "flagged and keeps its place in the worklist."
    ),
    "interaction": lambda _: here(
        "No one interacts while it runs, and the input needs no expertise: files are taken as they "
        "are. A radiologist reads every film, flagged or not."
    ),
}
"""How each subject is answered; the section numbers are those of the report."""
