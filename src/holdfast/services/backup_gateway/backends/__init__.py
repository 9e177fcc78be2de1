"""Where repositories are kept. Every back-end publishes whole files only, once, and never overwrites one."""
