"""Templates of queue projects and job scripts."""
