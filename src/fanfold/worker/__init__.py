"""Runs user code: bodies of tasks on executors, workflows on the durable loop. Knows the engine and the model."""
