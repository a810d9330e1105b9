"""What is counted while running, for `/metrics` (Prometheus).

Several processes on one port count as one: sums, and of positions the largest.
"""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

COMMANDS: Final = Counter("tidings_commands_total", "Commands answered", ["outcome"])
EVENTS: Final = Counter("tidings_events_total", "Events appended by this process")
RETRIES: Final = Counter("tidings_commit_retries_total", "Groups decided again", ["because"])
GROUP_SIZE: Final = Histogram(
    "tidings_group_commands", "Commands in one commit", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256)
)
COMMIT_SECONDS: Final = Histogram(
    "tidings_commit_seconds",
    "From the group's start to its durability",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5),
)
SNAPSHOTS: Final = Counter("tidings_snapshots_total", "Snapshots of aggregates written")
PROJECTED: Final = Counter("tidings_projected_events_total", "Events projected by this process")
PROJECTED_POSITION: Final = Gauge(
    "tidings_projected_position", "Position of the read models", multiprocess_mode="max"
)
HEAD_POSITION: Final = Gauge(
    "tidings_head_position", "Last position this process has seen", multiprocess_mode="max"
)
HOT_READS: Final = Counter(
    "tidings_document_reads_total",
    "Reads of documents, from memory or with a call",
    ["projection", "answered_from"],
)
IMAGE_READS: Final = Counter(
    "tidings_image_reads_total", "Reads of what has a memory image", ["projection", "answered_from"]
)
IMAGE_DIFFERENCES: Final = Counter(
    "tidings_image_differences_total", "Documents not as in the memory image", ["projection"]
)
PARKED_KEYS: Final = Counter("tidings_parked_keys_total", "Documents parked", ["projection"])
OPERATIONS: Final = Counter(
    "tidings_operations_total", "Queries and mutations; `planned` ran compiled", ["how"]
)
SUBSCRIPTION_EXECUTIONS: Final = Counter(
    "tidings_subscription_executions_total", "Changes executed and serialised for subscriptions"
)
SUBSCRIPTION_MESSAGES: Final = Counter(
    "tidings_subscription_messages_total", "Answers handed to subscribers"
)
SERVING: Final = Gauge(
    "tidings_serving_processes", "Processes that take requests here", multiprocess_mode="livesum"
)
SUBSCRIBERS: Final = Gauge(
    "tidings_subscribers", "Live subscriptions", ["kind"], multiprocess_mode="livesum"
)
REACTED: Final = Counter("tidings_reacted_events_total", "Events told to a process", ["follower"])
DEADLINES: Final = Counter("tidings_deadlines_total", "Deadlines that have passed", ["follower"])
CARRIED: Final = Counter(
    "tidings_outbox_total", "Work carried out, refused or put off", ["follower", "outcome"]
)
OUTBOX: Final = Gauge(
    "tidings_outbox_rows",
    "Work in memory, waiting or under way",
    ["follower"],
    multiprocess_mode="livesum",
)
CHECKED: Final = Counter("tidings_checked_documents_total", "Looked at", ["projection"])
DIFFERING: Final = Counter("tidings_differing_documents_total", "Not as the log", ["projection"])
REPAIRED: Final = Counter("tidings_repaired_documents_total", "Made anew", ["projection"])
PUBLISHED: Final = Counter("tidings_published_records_total", "Acknowledged by Kafka", ["topic"])
RELAYED_POSITION: Final = Gauge(
    "tidings_relayed_position", "Position of the relay", multiprocess_mode="max"
)
RELAY_LAG: Final = Gauge(
    "tidings_relay_lag", "Positions that the relay is behind the log", multiprocess_mode="max"
)
