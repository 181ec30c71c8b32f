"""A short run of benchmarks/matching_calibration.py: the matching must be right in most simulated samples."""

import numpy as np


def run(calibration, samples, number, **options):
    rng = np.random.default_rng(7)
    return [
        calibration.record(samples.draw(rng, n_candidates=5, largest=2, **options), with_magnetstein=False)
        for _ in range(number)
    ]


def test_truth_in_the_list_is_named_and_seldom_denied(calibration, samples):
    found = run(calibration, samples, 8, missing_share=0.0)
    words = [r["outcome"] for r in found]
    assert sum(w in {"identified right", "one of, with truth"} for w in words) >= 7
    assert words.count("none") <= 1
    true = [p for r in found if len(r["truth"]) > 1 for p in r["populations"] if p["true"] > 0]
    assert len(true) >= 4
    assert sum(p["low"] <= p["true"] <= p["high"] for p in true) >= 0.7 * len(true)


def test_a_missing_truth_that_differs_clearly_is_never_identified_as_another(calibration, samples):
    found = run(calibration, samples, 8, missing_share=1.0)
    far = [r for r in found if r["distance"] > 2.5]
    assert far
    assert sum(r["outcome"] == "none" for r in far) >= 0.8 * len(far)


def test_distance_is_zero_to_itself_and_counts_missing_partners(samples):
    one, other = samples.bulk(), [samples.site("x", "31P", 0, -24.5 + 4.0)]
    assert samples.distance(one, [one]) == 0.0
    # 31P two errors off, 27Al (shift and CQ) without a partner: (4 + 25 + 25) / 3
    assert samples.distance(one, [other]) == np.sqrt((4.0 + 50.0) / 3.0)
