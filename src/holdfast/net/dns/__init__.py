"""DNS on dnspython's messages: a server for what is published, zone transfers, updates of other servers."""
