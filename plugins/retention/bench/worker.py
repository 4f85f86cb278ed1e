"""One worker of a measured delivery: a process of its own, like a mapped task in Airflow.

    python -m retention.bench.worker DATABASE_URL COHORT STEP CHANNEL SHARD OF

Says `ready` when everything is imported, begins at a line on its standard input, and ends with one line of JSON:
{handled: {outcome: count}, peak_rss_mb, cpu_s}.
"""

from __future__ import annotations

import json
import resource
import sys
import time

from retention.bench.world import NOON
from retention.delivery.deliver import Handled
from retention.orchestration import cohort
from retention.store.database import connect


def main(url: str, cohort_id: str, step: str, channel: str, shard: str, of: str) -> None:
    """Deliver one shard when told to."""
    engine = connect(url)
    engine.connect().close()
    print("ready", flush=True)
    sys.stdin.readline()
    began = time.process_time()
    handled: list[Handled] = cohort.deliver(
        engine, int(cohort_id), step, channel, shard=int(shard), of=int(of), clock=lambda: NOON
    )
    said = {
        "handled": {it.outcome: it.count for it in handled},
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "cpu_s": time.process_time() - began,
    }
    print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
