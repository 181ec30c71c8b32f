"""Measured processor seconds of the shipped reference sites against the law that plans use."""

from __future__ import annotations

import json
from importlib.resources import files

from surfshift.workflows.costs import cluster_law, cluster_seconds

scale, power = cluster_law()
print(f"cpu seconds = {scale:.2g} (functions^2 centres)^{power:.3f}\n")
print("| site | functions | centres | measured cpu s | law |\n|---|---|---|---|---|")
text = files("surfshift.analysis.data").joinpath("reference_cluster_fast.json").read_text(encoding="utf-8")
for compound in json.loads(text)["compounds"]:
    for site in compound["sites"]:
        functions, centres = site["checks"]["n_functions"], site["checks"]["n_atoms"] + site["checks"]["n_caps"]
        if site["checks"]["n_caps"]:
            law = cluster_seconds(functions, centres)
            name = f"{compound['compound']} {site['element']}"
            print(f"| {name} | {functions:.0f} | {centres:.0f} | {site['cpu_seconds']:.0f} | {law:.0f} |")
