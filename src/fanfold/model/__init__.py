"""Pure values and rules: no I/O, no third party but msgspec. Time lives in `clock`, randomness in `ids`."""
