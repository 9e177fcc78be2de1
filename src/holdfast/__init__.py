"""Holdfast keeps the services of a hyperconverged cluster alive when nodes fail, and never runs anything twice."""

__version__ = "0.1.0"
