"""Kind `s3`: OpenStack Swift, whose name servers, object servers and gateways are instances that Holdfast keeps alive."""
