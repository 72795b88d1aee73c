"""The planted bugs of docs/guarantees.md that are not planted here, with the reason."""

NOT_PLANTED: dict[int, str] = {
    19: "groups are not there yet",
    26: "groups are not there yet",
    27: "folds are not there yet",
    28: "folds are not there yet",
    29: "folds are not there yet",
    30: "siblings are not there yet",
    31: "siblings are not there yet",
    32: "groups are not there yet",
    36: "events are not there yet",
    45: "PostgreSQL is not there yet",
    46: "PostgreSQL is not there yet",
    47: "PostgreSQL is not there yet",
}
