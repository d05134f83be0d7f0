"""Answers about the films: whose they are, where from, how they were chosen and divided."""

from __future__ import annotations

from export.answer import Answer, Found, ages, here, stated


def population(found: Found) -> Answer:
    """Whose films these are."""
    return here(
        f"Frontal chest radiographs of patients {ages(found)}, put in an order for the "
        "radiologist who reads them all the same."
    )


def sources(found: Found) -> Answer:
    """Where the films come from."""
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
    said = stated(found, "data_sources")
    if said.state == "stated by the site":
        return Answer(said.state, f"{said.text} {text}")
    return here(text + " Where the films come from has not been stated (data_sources).")


def eligibility(found: Found) -> Answer:
    """Which films were taken."""
    rules = (
        "The rules of screener scan, by the same code: headers before pixels, frontal views of the "
        f"chest, patients {ages(found)}, novelty last. What they turned away is in section 3.1."
    )
    said = found["statements"].get("eligibility")
    return Answer("stated by the site", f"{said} {rules}") if said else here(rules)


def preprocessing(found: Found) -> Answer:
    """What was done to the pixels."""
    steps = found["model"]["preprocessing"]
    told = "; ".join(f"{key} {value}" for key, value in steps.items())
    return here(
        "Stored values, modality LUT, VOI, polarity, range, area resize to 224 x 224, as scan does"
        + (f": {told}." if told else ".")
    )


def missing(found: Found) -> Answer:
    """What became of films without a score."""
    positive, negative = (found["turned_away"][name] for name in ("positive", "negative"))
    return here(
        "No image was left out. One without a score counts as not flagged, a positive among them "
        f"as missed: {positive['turned_away']} of {positive['images']} positives and "
        f"{negative['turned_away']} of {negative['images']} negatives. A missing value of a column "
        "is a subgroup of its own."
    )


def partitions(found: Found) -> Answer:
    """How the films were divided."""
    counts = found["model"]["training"].get("counts", {})
    told = ", ".join(
        f"{name} {one['images']} ({one['positive']} positive)" for name, one in counts.items()
    )
    return here(
        f"Measured: {found['data']['reason']}."
        + (f" The model's own data were divided into {told}." if told else "")
    )


def sample_size(found: Found) -> Answer:
    """Why so many."""
    counts = found["counts"]
    return stated(
        found,
        "sample_size",
        f"Not planned by the program: all {counts['positive']} positives and {counts['negative']} "
        "negatives of the list. The width of the intervals says what they allow.",
    )


def differences(found: Found) -> Answer:
    """How these films differ from those that the model learnt from."""
    if found["data"]["part"] == "all":
        return Answer(
            "not known",
            "The card holds counts and hashes of the training data, no characteristics.",
        )
    return here("None by design: another part of one collection, divided by groups at random.")


def internal(found: Found) -> Answer:
    """Whether this is a measurement on data of the same origin."""
    if found["data"]["part"] == "all":
        return Answer("not applicable", f"Not measured here: {found['data']['reason']}.")
    return here(f"This report: {found['data']['reason']}.")


def external(found: Found) -> Answer:
    """Whether this is a measurement on data of another origin."""
    if found["data"]["part"] != "all":
        return Answer(
            "not known",
            "Not measured here: these images are of the collection that the model was trained on. "
            "Expect less elsewhere, and measure there.",
        )
    return here(
        f"This report, as far as the films are new to the model ({found['data']['reason']})."
    )
