"""The exhaustive model of the safety protocol; docs/model.md explains it, `spec/check` runs it."""
