"""The invoice pipeline: what an invoice is, the stages and their contracts."""
