"""Documents and runs: intake, orchestration, module processes, results. Knows no invoices."""
