"""Schemas of the REST API, one file per noun: strict request bodies, and answers. Source: T008, INTERFACES 2."""
