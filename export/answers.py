"""What can be said to each subject that a reporting guideline asks about, from `metrics.json`.

An answer comes from the figures, from the model card, or from the site's own statements; where none
of them knows, it says so. Nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Found = Mapping[str, Any]
State = Literal["answered", "stated by the site", "not known", "not applicable"]


@dataclass(frozen=True, slots=True)
class Answer:
    """`state` says where the text comes from, or that there is none to be had."""

    state: State
    text: str


def _here(text: str) -> Answer:
    return Answer("answered", text)


def _stated(found: Found, key: str, otherwise: str = "") -> Answer:
    """The site's own words; else what the program can say; else that it is not known."""
    text = found["statements"].get(key)
    if text:
        return Answer("stated by the site", text)
    return (
        _here(otherwise)
        if otherwise
        else Answer("not known", f"The site has not stated it ({key}).")
    )


def _ages(found: Found) -> str:
    ages = found["model"]["age_range_years"]
    return f"of {ages[0]:g} to {ages[1]:g} years" if ages else "of any age"


def _title(found: Found) -> Answer:
    return _here(
        f"Diagnostic accuracy of a convolutional neural network (ResNet50) for {found['finding']} "
        "on frontal chest radiographs"
    )


def _role(found: Found) -> Answer:
    use = found["model"]["intended_use"]
    return _stated(
        found,
        "clinical_role",
        f"From the model card: {use} The site has not said more (clinical_role)." if use else "",
    )


def _population(found: Found) -> Answer:
    return _here(
        f"Frontal chest radiographs of patients {_ages(found)}, put in an order for the "
        "radiologist who reads them all the same."
    )


def _sources(found: Found) -> Answer:
    counts = found["counts"]
    text = (
        f"{counts['images']} labelled images in {counts['groups']} groups; SHA-256 of the list "
        f"{found['data']['part_sha256'][:16]}..."
    )
    held = found["audit"].get("source_held_out")
    if held:
        named = ", ".join(f"{name or '(not stated)'} {one['images']}" for name, one in held.items())
        text += f" Sources: {named}."
    else:
        text += " The list names no sources."
    said = _stated(found, "data_sources")
    if said.state == "stated by the site":
        return Answer(said.state, f"{said.text} {text}")
    return _here(text + " Where the films come from has not been stated (data_sources).")


def _eligibility(found: Found) -> Answer:
    rules = (
        "The rules of screener scan, by the same code: headers before pixels, frontal views of the "
        f"chest, patients {_ages(found)}, novelty last. What they turned away is in section 3.1."
    )
    said = found["statements"].get("eligibility")
    return Answer("stated by the site", f"{said} {rules}") if said else _here(rules)


def _preprocessing(found: Found) -> Answer:
    steps = found["model"]["preprocessing"]
    told = "; ".join(f"{key} {value}" for key, value in steps.items())
    return _here(
        "Stored values, modality LUT, VOI, polarity, range, area resize to 224 x 224, as scan does"
        + (f": {told}." if told else ".")
    )


def _missing(found: Found) -> Answer:
    positive, negative = (found["turned_away"][name] for name in ("positive", "negative"))
    return _here(
        "No image was left out. One without a score counts as not flagged, a positive among them "
        f"as missed: {positive['turned_away']} of {positive['images']} positives and "
        f"{negative['turned_away']} of {negative['images']} negatives. A missing value of a column "
        "is a subgroup of its own."
    )


def _partitions(found: Found) -> Answer:
    counts = found["model"]["training"].get("counts", {})
    told = ", ".join(
        f"{name} {one['images']} ({one['positive']} positive)" for name, one in counts.items()
    )
    return _here(
        f"Measured: {found['data']['reason']}."
        + (f" The model's own data were divided into {told}." if told else "")
    )


def _sample_size(found: Found) -> Answer:
    counts = found["counts"]
    return _stated(
        found,
        "sample_size",
        f"Not planned by the program: all {counts['positive']} positives and {counts['negative']} "
        "negatives of the list. The width of the intervals says what they allow.",
    )


def _model(found: Found) -> Answer:
    model = found["model"]
    novelty = model["novelty"]
    away = (
        f"{novelty['method']}; beyond {novelty['limit']:g} there is no score" if novelty else "none"
    )
    return _here(
        "ResNet50 with one input channel of 224 x 224 pixels and one linear head a finding; class "
        "activation map, logit, calibrated score and novelty in one graph. Novelty: "
        f"{away}."
    )


def _software(found: Found) -> Answer:
    return _here(f"screener {found['software_version']}, run by {found['model']['provider']}.")


def _weights(found: Found) -> Answer:
    weights = found["model"]["training"].get("weights")
    if not weights:
        return Answer("not known", "The model names no initial weights.")
    words = {"scratch": "Drawn at random: trained from scratch."}
    return _here(words.get(weights, f"Started from {weights}."))


def _training(found: Found) -> Answer:
    model = found["model"]
    recipe = model["training"].get("recipe")
    how = (
        "recipe: " + "; ".join(f"{key} {value}" for key, value in recipe.items())
        if recipe
        else "rates, stages and augmentation stand in the record of that run"
    )
    return _here(
        f"By screener train on the list {model['training_data_sha256'][:16]}..., split seed "
        f"{model['split_seed']}; {how}. Nothing was trained or tuned for this measurement."
    )


def _internal(found: Found) -> Answer:
    if found["data"]["part"] == "all":
        return Answer("not applicable", f"Not measured here: {found['data']['reason']}.")
    return _here(f"This report: {found['data']['reason']}.")


def _external(found: Found) -> Answer:
    if found["data"]["part"] != "all":
        return Answer(
            "not known",
            "Not measured here: these images are of the collection that the model was trained on. "
            "Expect less elsewhere, and measure there.",
        )
    return _here(
        f"This report, as far as the films are new to the model ({found['data']['reason']})."
    )


def _flow(found: Found) -> Answer:
    counts = found["counts"]
    return _here(
        f"{counts['images']} images listed, {counts['scored']} scored, "
        f"{counts['images'] - counts['scored']} turned away (section 3.1)."
    )


def _characteristics(found: Found) -> Answer:
    columns = ", ".join(found["subgroups"])
    if not columns:
        return Answer("not known", "The list has no column of few values (sex, age, device).")
    return _here(f"By {columns}: section 3.5. Of the training data only counts are known.")


def _performance(found: Found) -> Answer:
    auc = found["auc_end_to_end"]
    text = f"AUC end to end {_interval(auc)}." if auc else ""
    for point in found["operating_points"][:1]:
        text += (
            f" At {point['name']} sensitivity {_interval(point['sensitivity'])}, specificity "
            f"{_interval(point['specificity'])}."
        )
    return _here(f"{text} All of it in sections 3.2 to 3.5.")


def _interval(estimate: Mapping[str, float] | None) -> str:
    if estimate is None:
        return "not measured"
    return f"{estimate['value']:.3f} ({estimate['low']:.3f} to {estimate['high']:.3f})"


def _clusters(found: Found) -> Answer:
    held = found["audit"].get("source_held_out")
    if not held:
        return Answer("not known", "The list names no sources, so they could not be set apart.")
    return _here(
        f"{len(held)} sources, each held out of the measurement in turn: section 3.6. Intervals by "
        "drawing whole groups again stand beside those that take images as independent."
    )


def _differences(found: Found) -> Answer:
    if found["data"]["part"] == "all":
        return Answer(
            "not known",
            "The card holds counts and hashes of the training data, no characteristics.",
        )
    return _here("None by design: another part of one collection, divided by groups at random.")


def _numbers(found: Found) -> Answer:
    counts, studies = found["counts"], found["studies"]
    return _here(
        f"{counts['positive']} of {counts['images']} images positive; as studies "
        f"{studies['positive']} of {studies['count']}."
    )


def _updating(found: Found) -> Answer:
    site = found["model"]["site"]
    if not site:
        return Answer("not applicable", "The model was not updated.")
    return _here(
        f"An operating point {site['operating_point']!r} was fitted to a site's sample of "
        f"{site['images']} images ({site['positive']} positive, SHA-256 "
        f"{site['sample_sha256'][:16]}...); the network is the same."
    )


def _fairness(found: Found) -> Answer:
    columns = ", ".join(found["subgroups"])
    if not columns:
        return Answer("not known", "No column allows it: subgroups could not be measured.")
    return _here(
        f"Sensitivity, specificity and AUC apart for each value of {columns} (section 3.5)."
    )


def _output(found: Found) -> Answer:
    names = ", ".join(f"{p['name']} {p['threshold']:.4f}" for p in found["operating_points"])
    return _here(
        "A calibrated score of 0 to 1, rounded to 4 decimals; at or above a threshold the study is "
        f"flagged. Thresholds: {names}."
    )


SUBJECTS: dict[str, Callable[[Found], Answer]] = {
    "title": _title,
    "summary": lambda _: _here("At the head of this report."),
    "role": _role,
    "population": _population,
    "inequalities": lambda found: _stated(found, "health_inequalities"),
    "objectives": lambda found: _here(
        f"To measure how well a finished model finds {found['finding']}: discrimination, "
        "calibration and net benefit end to end, what it does to waiting times, and how much of it "
        "comes from outside the lungs."
    ),
    "design": lambda found: _stated(
        found,
        "study_design",
        "Retrospective: the films had their labels before the model was run on them.",
    ),
    "sources": _sources,
    "dates": lambda found: _stated(found, "dates"),
    "setting": lambda found: _stated(found, "setting"),
    "eligibility": _eligibility,
    "treatments": lambda found: _stated(found, "treatments"),
    "preprocessing": _preprocessing,
    "subset": lambda found: _here(f"Measured: {found['data']['reason']}."),
    "deidentification": lambda found: _stated(found, "deidentification"),
    "missing": _missing,
    "acquisition": lambda found: _stated(found, "acquisition"),
    "reference": lambda found: _stated(found, "reference_standard"),
    "annotators": lambda found: _stated(found, "annotators"),
    "partitions": _partitions,
    "disjoint": lambda _: _here(
        "Groups as the list states them (patients, near-duplicates), files of equal bytes joined. "
        "Where the list states none, each file is its own group."
    ),
    "sample_size": _sample_size,
    "model": _model,
    "software": _software,
    "weights": _weights,
    "training": _training,
    "selection": lambda _: _here(
        "By screener train: the weights with the highest AUC on the validation part, which is no "
        "part of this measurement unless section 2.1 says so."
    ),
    "ensemble": lambda _: Answer("not applicable", "One network."),
    "measures": lambda _: _here("Section 2.4."),
    "uncertainty": lambda _: _here(
        "95 % intervals: Wilson for shares, DeLong for AUC, and a bootstrap of whole groups."
    ),
    "robustness": lambda _: _here(
        "Parts of the film blanked, and sources held out where they are named: section 3.6."
    ),
    "explanation": lambda _: _here(
        "Class activation maps, which add up to the logit exactly: sections 3.6 and 3.7. A hint, "
        "no localisation."
    ),
    "internal": _internal,
    "external": _external,
    "registration": lambda found: _stated(found, "registration"),
    "flow": _flow,
    "characteristics": _characteristics,
    "performance": _performance,
    "failures": lambda _: _here(
        "The worst errors are shown in section 3.7, all are in predictions.csv."
    ),
    "limitations": lambda _: _here("Section 4.2."),
    "implications": lambda found: _stated(
        found,
        "implications",
        "No use without a measurement and a threshold of the site's own; the site has not said "
        "more (implications).",
    ),
    "protocol": lambda found: _stated(found, "protocol"),
    "availability": lambda found: _stated(found, "availability"),
    "funding": lambda found: _stated(found, "funding"),
    "predictors": lambda _: _here(
        "The pixels of one film alone; no clinical data enter the score."
    ),
    "subjective": lambda _: Answer("not applicable", "No one interprets the pixels beforehand."),
    "clusters": _clusters,
    "updating": _updating,
    "computed": lambda _: _here("By the file itself, with the code that scan runs every night."),
    "imbalance": lambda _: _here(
        "Nothing was resampled to measure. Predictive values, calibration and net benefit hold at "
        "the prevalence of this sample; section 3.4 gives the site's."
    ),
    "fairness": _fairness,
    "output": _output,
    "differences": _differences,
    "ethics": lambda found: _stated(found, "ethics"),
    "conflicts": lambda found: _stated(found, "conflicts"),
    "code": lambda _: _here("screener is free software under the Apache License 2.0."),
    "involvement": lambda found: _stated(found, "patient_involvement"),
    "numbers": _numbers,
    "specification": lambda found: _here(
        f"The file of SHA-256 {found['model']['sha256'][:16]}... is the whole model: graph, "
        "weights, calibration and card."
    ),
    "interpretation": lambda _: _here("Section 4.1."),
    "poor_input": lambda _: _here(
        "What cannot be read, or does not look like a frontal chest radiograph, gets no score and "
        "is listed with the reason. A study of which nothing could be scored is never called not "
        "flagged and keeps its place in the worklist."
    ),
    "interaction": lambda _: _here(
        "No one interacts while it runs. A radiologist reads every film, flagged or not."
    ),
}
"""How each subject is answered; the section numbers are those of the report."""
