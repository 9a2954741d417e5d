"""Rows of tables, as dictionaries."""

NAN = float("nan")
PARTS = ("architecture", "options", "width", "recipe", "learning_rate")
"""Of what a group is, beside its label noise."""
TRAININGS, ONE_SIDE = "models and planes", "models of one side and planes"
KEY = {"architecture": "net", "options": "", "width": 4, "label_noise": 0.2, "recipe": "default",
       "learning_rate": 0.01, "epoch": 100, "plane_set": "test"}  # fmt: skip
"""What the rows of tables have in common here, unless they say otherwise."""


def with_ends(score, value, reach=0.1):
    return {score: value, f"{score}_low": value - reach, f"{score}_high": value + reach}


def of_margins(width, all_images, correct=NAN, mislabelled=NAN, found=1.0):
    row = KEY | {"width": width, "n_models": 3, "margin_found": found} | with_ends("margin", all_images)
    row |= with_ends("margin_correct", correct) | with_ends("margin_mislabelled", mislabelled)
    return row | with_ends("test_error", 1 / width)


def of_stream(stream, share, disagreement=0.31, own=NAN, **others):
    covers = {"total_share_interval_covers": TRAININGS, "own_share_interval_covers": "nothing"}
    shares = with_ends("total_share", share) | with_ends("own_share", own)
    return KEY | {"stream": stream, "disagreement": disagreement} | shares | covers | others


def of_grid(kind, points, fragmentation, large):
    scores = with_ends("fragmentation", fragmentation) | with_ends("large_regions", large)
    return KEY | {"kind": kind, "resolution": points} | scores


def of_difference(score, value, reach=0.1, covers=TRAININGS, **parts):
    """`parts` are what the two groups have, such as `width=(4, 8)`."""
    row = KEY | {"score": score, "interval_covers": covers} | with_ends("difference", value, reach)
    for part in (*PARTS, "epoch"):
        row[f"{part}_a"], row[f"{part}_b"] = parts.get(part, (KEY[part], KEY[part]))
    return row
