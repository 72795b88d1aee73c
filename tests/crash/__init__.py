"""Real processes that die at any moment, and what the next one makes of what they left."""
