"""The planted bugs of docs/guarantees.md that are not planted here, with the reason."""

NOT_PLANTED: dict[int, str] = {
    36: "events are not there yet",
    45: "PostgreSQL is not there yet",
    46: "PostgreSQL is not there yet",
    47: "PostgreSQL is not there yet",
}
