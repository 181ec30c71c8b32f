"""The local page of a study: its data, its server, and its files."""
