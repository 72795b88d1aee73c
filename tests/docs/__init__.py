"""The documents, held to the code: their programs run, their links and commands exist."""
