"""Where bodies run: on the engine's loop, in threads, in processes."""
