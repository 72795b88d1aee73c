"""`python -m tests.fidelity`: generated programs, from the command line."""

from tests.fidelity.executions import main

main()
