"""Jobs, flows, engines and the command line: what runs, where, and how it goes on after a crash."""
