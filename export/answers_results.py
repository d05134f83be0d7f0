"""Answers from what was measured."""

from __future__ import annotations

from export.answer import Answer, Found, here, interval


def flow(found: Found) -> Answer:
    """How many films came through."""
    counts = found["counts"]
    return here(
        f"{counts['images']} images listed, {counts['scored']} scored, "
        f"{counts['images'] - counts['scored']} turned away (section 3.1)."
    )


def characteristics(found: Found) -> Answer:
    """Who the patients are, as far as columns tell."""
    columns = ", ".join(found["subgroups"])
    if not columns:
        return Answer("not known", "The list has no column of few values (sex, age, device).")
    return here(f"By {columns}: section 3.5. Of the training data only counts are known.")


def performance(found: Found) -> Answer:
    """How well it does."""
    auc = found["auc_end_to_end"]
    text = f"AUC end to end {interval(auc)}." if auc else ""
    for point in found["operating_points"][:1]:
        text += (
            f" At {point['name']} sensitivity {interval(point['sensitivity'])}, specificity "
            f"{interval(point['specificity'])}."
        )
    return here(f"{text} All of it in sections 3.2 to 3.5.")


def clusters(found: Found) -> Answer:
    """How figures differ from source to source."""
    held = found["audit"].get("source_held_out")
    if not held:
        return Answer("not known", "The list names no sources, so they could not be set apart.")
    return here(
        f"{len(held)} sources, each held out of the measurement in turn: section 3.6. Intervals by "
        "drawing whole groups again stand beside those that take images as independent."
    )


def numbers(found: Found) -> Answer:
    """How many films each use of the data had."""
    counts, studies = found["counts"], found["studies"]
    used = found["model"]["training"].get("counts", {})
    made = ", ".join(
        f"{name} {one['positive']} of {one['images']}"
        for name, one in used.items()
        if name != "test"
    )
    return here(
        f"Measured: {counts['positive']} of {counts['images']} images positive; as studies "
        f"{studies['positive']} of {studies['count']}."
        + (f" To make the model, positives of images: {made}." if made else "")
    )


def fairness(found: Found) -> Answer:
    """What was done for groups of patients."""
    columns = ", ".join(found["subgroups"])
    nothing = "Nothing was done in training to make groups of patients fare alike."
    if not columns:
        return Answer("not known", f"{nothing} No column allows it to be measured.")
    return here(
        f"{nothing} Sensitivity, specificity and AUC are given apart for each value of {columns} "
        "(section 3.5)."
    )
