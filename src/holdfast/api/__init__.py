"""The HTTP API, and the operations behind API, panel and command line."""
