"""One module a workload: a small fanfold program that prints one JSON line about itself."""
