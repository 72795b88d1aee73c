"""The same job the plain way: one process, one pass over all customers, no shards and no fanfold.

What the durable version must agree with. It shares the reading and the rules, not the way the numbers are added up.
"""

import argparse
import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path

from examples.customer_merge.enrichment import enrich
from examples.customer_merge.merge import load_customers
from examples.customer_merge.profiles import Level, Statistics, Summary
from examples.customer_merge.sharding import NUM_SHARDS


def merge_sequentially(data_dir: Path) -> Summary:
    """Return the summary of the files in a folder. Holds all customers in memory: about 1 GB for a million."""
    customers = load_customers(data_dir)
    profiles = [enrich(customers[customer_id]) for customer_id in sorted(customers)]
    scores = [profile.health_score for profile in profiles]
    churn = Counter(profile.churn_risk for profile in profiles)
    return Summary(
        profiles_generated=len(profiles),
        # It has no shards; the number is that of the job it stands for, so that whole summaries can be compared.
        shards_processed=NUM_SHARDS,
        sample_profile=profiles[0] if profiles else None,
        statistics=Statistics(
            avg_health_score=round(sum(scores) / len(scores), 1) if scores else 0.0,
            churn_distribution={level: churn[level] for level in Level},
        ),
    )


def main() -> None:
    """Print the summary of a folder as JSON."""
    parser = argparse.ArgumentParser(description="Merge the customer files in one process.")
    parser.add_argument("data_dir", type=Path, help="the folder with the four CSV files")
    print(json.dumps(asdict(merge_sequentially(parser.parse_args().data_dir)), indent=2))


if __name__ == "__main__":
    main()
