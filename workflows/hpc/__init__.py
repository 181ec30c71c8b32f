"""Running a study on a cluster: workers, resources, checks."""
