"""The `fanfold` command: stdout is data, stderr is talk, and the exit code says what became of it."""
