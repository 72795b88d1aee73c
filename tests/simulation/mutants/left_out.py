"""The planted bugs of docs/guarantees.md that are not planted here, with the reason."""

NOT_PLANTED: dict[int, str] = {
    13: "tasks cannot start children yet, so that no child is identified by its content",
    18: "what a dead frame calls stays in its run's outbox, which nobody takes any more, and the store would refuse it",
    19: "groups are not there yet",
    20: "there are no attempts yet",
    21: "nothing looks at the crash counter yet",
    22: "there are no retries yet",
    25: "a cancel goes down by what each end and each request flags; there is no walk to turn around",
    26: "groups are not there yet",
    27: "folds are not there yet",
    28: "folds are not there yet",
    29: "folds are not there yet",
    30: "siblings are not there yet",
    31: "siblings are not there yet",
    32: "groups are not there yet",
    36: "events are not there yet",
    39: "nothing is read back as a list yet",
    42: "folds, which have a high-water mark, are not there yet",
    45: "PostgreSQL is not there yet",
    46: "PostgreSQL is not there yet",
    47: "PostgreSQL is not there yet",
}
