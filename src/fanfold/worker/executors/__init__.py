"""Where bodies run: on the engine's loop, or in threads."""
