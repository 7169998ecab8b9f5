"""The engine room: configurations, activation, validation, registry, audit, access. Knows no invoices."""
