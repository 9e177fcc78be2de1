"""Backup gateways: restic's REST protocol in front of file systems and object stores."""
