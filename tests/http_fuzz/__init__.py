"""Anything that the OpenAPI document allows, and much that it does not, sent to a gateway."""
