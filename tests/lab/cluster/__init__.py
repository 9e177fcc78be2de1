"""Tests that share one cluster. A package, so that its lab ends with the last of them: idle nodes take time from others."""
