"""Scan a tree that is found on the way, and fold the reports as they come in; `README.md` has the commands."""
