"""One file per scheduler or computing centre."""
