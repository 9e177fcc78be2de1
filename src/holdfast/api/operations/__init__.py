"""What an operator can do, one module per area.

Each operation checks everything first and then commits one transaction, so nothing is ever half-applied.
"""
