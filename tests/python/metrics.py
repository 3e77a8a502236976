"""prometheus-client as a judge of `/metrics`: metrics.py FILE

Reads the text format, checks that every family has a help and a known type, that no sample stands twice and that
histograms are cumulated and end with their count, and prints each sample as a line of JSON.
"""

import json
import math
import sys

from prometheus_client.parser import text_string_to_metric_families


def check_histogram(family):
    series = {}
    for sample in family.samples:
        labels = {k: v for k, v in sample.labels.items() if k != "le"}
        one = series.setdefault(json.dumps(labels, sort_keys=True), {"buckets": []})
        if sample.name.endswith("_bucket"):
            one["buckets"].append((float(sample.labels["le"]), sample.value))
        else:
            one[sample.name.rsplit("_", 1)[1]] = sample.value
    for labels, one in series.items():
        bounds = [bound for bound, _ in one["buckets"]]
        counts = [count for _, count in one["buckets"]]
        assert bounds == sorted(bounds) and bounds[-1] == math.inf, (family.name, labels, bounds)
        assert counts == sorted(counts) and counts[-1] == one["count"], (family.name, labels, counts)
        assert one["sum"] >= 0, (family.name, labels)


seen, names = set(), set()
with open(sys.argv[1], encoding="utf-8", newline="") as file:
    text = file.read()
for family in text_string_to_metric_families(text):
    assert family.type in ("counter", "gauge", "histogram"), (family.name, family.type)
    assert family.documentation, family.name
    assert family.name not in names, family.name
    names.add(family.name)
    if family.type == "histogram":
        check_histogram(family)
    for sample in family.samples:
        key = (sample.name, tuple(sorted(sample.labels.items())))
        assert key not in seen, key
        seen.add(key)
        print(json.dumps({"name": sample.name, "labels": sample.labels, "value": sample.value}))
assert "fondaco_plugin_call_seconds" in names, names
