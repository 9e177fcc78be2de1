"""The web UI: one page and a sign-in form, served by the same process as the HTTP API."""
