"""From tensors to a verdict: constants, references, lines, matching and the report."""
