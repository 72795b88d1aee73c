"""What a program does with an app from outside of runs: start, look, wait, cancel, and what can stand in its way."""
