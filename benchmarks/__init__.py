"""The benchmark harness: workloads, what they are measured against, and the table. `python -m benchmarks` runs it.

Never imported by the library. Figures are ratios inside one run: absolute ones say more about the machine.
"""
