"""The words of a sweep's report, and the limits of what it says."""

from __future__ import annotations

from collections.abc import Collection

TERMS = {
    "plane": "Three images span a plane in the space of all images; a grid of points on it is classified by every "
    "model. The predicted classes, drawn as colours, are a slice of the model's decision regions.",
    "reproducibility": "The share of a plane's points on which two trainings of one kind predict the same class, "
    "averaged over planes and pairs of trainings: 1 is the same model as far as these planes tell. Trainings of a kind "
    "differ in their random seeds alone.",
    "kappa": "The same, corrected for what two models would agree on by chance (Cohen's kappa): 0 is no more than "
    "chance, 1 is the same.",
    "regions": "Connected areas of one class in a plane, diagonal neighbours included, counted and averaged over "
    "planes (fragmentation). Many small ones mean that small changes of an image change what the model says.",
    "margin": "How far an image can be moved towards other images before the predicted class changes, averaged over "
    "directions; distances are Euclidean (L2), in normalised pixels.",
    "label noise": "The share of training labels that were replaced by wrong ones on purpose. Mislabelled images are "
    "those that have such a label. Test labels are never changed.",
    "interpolation threshold": "The smallest width (or epoch) from which on the network memorises its training labels: "
    "its training error is at most 10 %.",
    "sharpness": "How fast the training loss rises around the trained weights; flat minima have small values.",
    "[brackets]": "95 % intervals: were everything done again with other trainings and other planes or images of the "
    "same kind, about 95 in 100 such intervals would hold the true value. The column that ends in interval_covers says "
    "what an interval is about.",
}

LIMITS = (
    "Regions are those of a plane, not of the full space: two regions of a slice may be joined elsewhere, and planes "
    "through a few images are not the space of all images.",
    "Counts of regions depend on the grid: a finer one finds smaller regions. Compare counts at one resolution; counts "
    "of large regions depend on it less.",
    "Two accurate models agree on much by being right. Kappa and the agreement beyond accuracy in the tables take off "
    "what chance and accuracy explain.",
    "Models that predict one class everywhere agree perfectly and mean nothing by it: look at the errors beside the "
    "reproducibility.",
    "With two trainings of a kind the interval of the reproducibility is about other planes alone; from three on it is "
    "about other trainings too.",
)


def terms(known: Collection[str], noisy: bool) -> list[tuple[str, str]]:
    """What is to be explained where the scores called `known` are told, with or without label noise."""
    needs = {
        "reproducibility": "reproducibility",
        "kappa": "kappa",
        "regions": "fragmentation",
        "margin": "margin",
        "sharpness": "sharpness",
    }
    return [
        (term, text)
        for term, text in TERMS.items()
        if needs.get(term, "test_error") in known and (noisy or term != "label noise")
    ]
