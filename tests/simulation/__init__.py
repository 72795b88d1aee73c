"""The real engine and worker on a loop of virtual time, under seeded faults. `python -m tests.simulation --help`."""
