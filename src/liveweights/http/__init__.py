"""What all that speak HTTP share: errors, bytes on the wire, streams, keys, routes, the server."""
