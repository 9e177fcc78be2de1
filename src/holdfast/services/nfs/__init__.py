"""NFS volumes: one NFS-Ganesha process per volume behind the volume's own service address, NFSv4.1 and 4.2 only."""
