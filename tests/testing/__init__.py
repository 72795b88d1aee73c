"""The app under test, as users have it."""
