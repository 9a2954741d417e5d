"""What a sweep would do, take and cost, before it does any of it."""
