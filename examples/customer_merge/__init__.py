"""Merge four customer exports into scored profiles, ten shards at a time; `README.md` has the rules."""
