"""Pure rules and state tables: no I/O, no ORM, no clock."""
