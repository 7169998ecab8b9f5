"""Migrations of the database, inside the package: an installed wheel migrates itself. Source: DESIGN 2."""
