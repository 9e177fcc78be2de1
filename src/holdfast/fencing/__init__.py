"""Fencing: the guard, the watchdog, power fencing, attestation."""
