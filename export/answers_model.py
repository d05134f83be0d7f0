"""Answers about the model: what it is for, is made of, was trained by and gives."""

from __future__ import annotations

from export.answer import Answer, Found, here, stated


def title(found: Found) -> Answer:
    """What the report is about."""
    return here(
        f"Diagnostic accuracy of a convolutional neural network (ResNet50) for {found['finding']} "
        "on frontal chest radiographs"
    )


def role(found: Found) -> Answer:
    """Where in care the model stands."""
    use = found["model"]["intended_use"]
    return stated(
        found,
        "clinical_role",
        f"From the model card: {use} The site has not said more (clinical_role)." if use else "",
    )


def model(found: Found) -> Answer:
    """What the model is made of."""
    model = found["model"]
    novelty = model["novelty"]
    away = (
        f"{novelty['method']}; beyond {novelty['limit']:g} there is no score" if novelty else "none"
    )
    return here(
        "ResNet50 with one input channel of 224 x 224 pixels and one linear head a finding; class "
        "activation map, logit, calibrated score and novelty in one graph. Novelty: "
        f"{away}."
    )


def software(found: Found) -> Answer:
    """What ran it."""
    return here(f"screener {found['software_version']}, run by {found['model']['provider']}.")


def weights(found: Found) -> Answer:
    """Where its training started from."""
    weights = found["model"]["training"].get("weights")
    if not weights:
        return Answer("not known", "The model names no initial weights.")
    words = {"scratch": "Drawn at random: trained from scratch."}
    return here(words.get(weights, f"Started from {weights}."))


def training(found: Found) -> Answer:
    """How it was trained."""
    model = found["model"]
    recipe = model["training"].get("recipe")
    how = (
        "recipe: " + "; ".join(f"{key} {value}" for key, value in recipe.items())
        if recipe
        else "rates, stages and augmentation stand in the record of that run"
    )
    return here(
        f"By screener train on the list {model['training_data_sha256'][:16]}..., split seed "
        f"{model['split_seed']}; {how}. Nothing was trained or tuned for this measurement."
    )


def updating(found: Found) -> Answer:
    """What was changed for a site."""
    site = found["model"]["site"]
    if not site:
        return Answer("not applicable", "The model was not updated.")
    return here(
        f"An operating point {site['operating_point']!r} was fitted to a site's sample of "
        f"{site['images']} images ({site['positive']} positive, SHA-256 "
        f"{site['sample_sha256'][:16]}...); the network is the same."
    )


def output(found: Found) -> Answer:
    """What it gives, and where its thresholds come from."""
    points = found["operating_points"]
    told = "; ".join(
        f"{point['name']} {point['threshold']:.4f}, set on "
        f"{(point.get('stated_in_card') or {}).get('data') or 'data that the card does not name'}"
        for point in points
    )
    return here(
        "A calibrated score of 0 to 1, rounded to 4 decimals; at or above a threshold the study is "
        f"flagged. Thresholds: {told}."
    )


def imbalance(found: Found) -> Answer:
    """What was done about the rare class."""
    recipe = found["model"]["training"].get("recipe") or {}
    ways = {
        "weight": "In training the rare class weighed more, by the square root of the ratio. ",
        "upsample": "In training the rare class was drawn as often as the other. ",
        "none": "In training nothing was done about it. ",
    }
    after = "The score was calibrated afterwards, at the prevalence of the calibration part. "
    return here(
        (ways[recipe["balance"]] + after if "balance" in recipe else "")
        + "Nothing was resampled to measure. Predictive values, calibration and net benefit hold "
        "at the prevalence of this sample; section 3.4 gives the site's."
    )
