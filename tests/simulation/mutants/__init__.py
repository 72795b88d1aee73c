"""Planted bugs: each breaks one rule of the engine, and one seed of the simulation finds it."""
