"""One cluster with S3, backup gateways and DNS."""
